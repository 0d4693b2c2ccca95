"""One process at a time in a folder: two that write the same checkpoint or records would spoil both."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from samplers.errors import UserError


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder for the block: made where it is not there, and removed again if nothing came into it.

    The system lets go of it when the process ends, however it ends; nothing is left in the folder. Where the system or the
    file system has no such locks (Windows, some network drives) nothing is held. Of processes that torchrun started
    together the first one holds it for all.

    Raises:
        UserError: another process holds it, or it cannot be made.
    """
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(f"cannot make the folder {folder}: {e.strerror or e}; choose another --out") from e
    try:
        with _held(folder):
            yield
    finally:
        if new:
            with suppress(OSError):  # not empty
                folder.rmdir()


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    if os.name != "posix" or os.environ.get("RANK", "0") != "0":
        yield
        return
    import fcntl

    opened = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise UserError(f"another process is at work in {folder}; wait for it, stop it, or choose another --out") from e
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(opened)
