"""Files written whole, named by their hash, in folders where one process works at a time."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from samplers.errors import UserError


def write_whole(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a file so that a reader sees the old content or the new, never half.

    Args:
        path: the file; its folder is made.
        content: all of it.
        durable: wait until it would survive a power cut too (a few milliseconds).

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as f:
            f.write(content)
            if durable:
                f.flush()
                os.fsync(f.fileno())
        os.replace(partial, path)
    except OSError as e:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise UserError(f"cannot write {path}: {e.strerror or e}; free some space or choose another folder") from e


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
