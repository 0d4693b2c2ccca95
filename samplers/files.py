"""Files written whole, named by their hash, in folders where one process works at a time."""

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from samplers.errors import UserError, one_line


def write_whole(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a file so that a reader sees the old content or the new, never half.

    Args:
        path: the file; its folder is made.
        content: all of it.
        durable: wait until it would survive a power cut too (a few milliseconds).

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")  # several processes may fill one cache
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as f:
            f.write(content)
            if durable:
                f.flush()
                os.fsync(f.fileno())
        os.replace(partial, path)
    except (OSError, ValueError) as e:  # ValueError: a name that no file can have
        with suppress(OSError, ValueError):
            partial.unlink()
        raise UserError(
            f"cannot write {path}: {getattr(e, 'strerror', None) or e}; free some space or choose another folder"
        ) from e


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def write_json(path: Path, value: Any, *, indent: int | None = 1) -> None:
    """Write a value as JSON, as `write_whole` does."""
    write_whole(path, (json.dumps(value, indent=indent) + "\n").encode())


def read_json(path: Path, what: str, fix: str, needs: Collection[str] = ()) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        path: the file.
        what: it should hold, for the message.
        fix: what to do where it does not, for the message.
        needs: keys that it must have.

    Raises:
        UserError: no such file, not a JSON object, or one that lacks a key.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as e:
        raise UserError(f"no {what} at {one_line(path)} ({e.strerror}); {fix}") from e
    except (ValueError, RecursionError) as e:  # ValueError: of text that is no UTF-8, too
        raise UserError(f"{one_line(path)} is not JSON ({one_line(e)}), so no {what}; {fix}") from e
    if not isinstance(found, dict) or not found.keys() >= set(needs):
        lacks = ", ".join(sorted(set(needs) - found.keys())) if isinstance(found, dict) else "everything"
        raise UserError(f"{path} holds no {what}, it lacks {lacks}; {fix}")
    return found


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file that has one a line, without a line that a kill cut short; none where it is not there."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else ():
        with suppress(ValueError):
            rows.append(json.loads(line))
    return rows


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder for the block: made where it is not there, and removed again if nothing came into it.

    What is held is a file `.NAME.lock` beside it, gone afterwards; the system lets go of it when the process ends, however it
    ends. Where no file can be made beside it (a folder that others gave) nothing is held. Of processes that torchrun started
    together the first one holds it for all.

    Raises:
        UserError: another process holds it, or it cannot be made.
    """
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as e:  # ValueError: a name that no file can have
        raise UserError(f"cannot make the folder {folder}: {getattr(e, 'strerror', None) or e}; choose another --out") from e
    try:
        with _held(folder):
            yield
    finally:
        if new:
            with suppress(OSError):  # not empty
                folder.rmdir()


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    path = folder.resolve()
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        if os.environ.get("RANK", "0") == "0":
            lock.acquire(timeout=0)
    except Timeout as e:
        raise UserError(f"another process is at work in {folder}; wait for it, stop it, or choose another --out") from e
    except (OSError, NotImplementedError):
        pass  # a place or a file system without locks
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # Windows: after it is let go of
                Path(lock.lock_file).unlink()  # before: a process that has opened it finds it gone, and holds nothing
            lock.release()
