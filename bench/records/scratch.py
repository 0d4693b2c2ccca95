"""What an interrupted cell resumes from: lines and arrays in `partial/CELL/`, gone once its record is written."""

import io
import shutil
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from samplers.errors import UserError
from samplers.files import write_whole

Row = TypeVar("Row", bound=BaseModel)


class Scratch:
    """A run's `partial/`: `NAME.jsonl` and `NAME-00012.npz` of each cell; before each JSON object stands its CRC-32.

    What a power cut damaged is left out, from the first bad line on, and made again by whoever wrote it.

    Args:
        folder: made if needed.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def append(self, cell: str, name: str, row: BaseModel) -> None:
        """Add a row to a cell's lines.

        Raises:
            UserError: the disk is full or the folder cannot be written.
        """
        path = self.folder / cell / f"{name}.jsonl"
        try:
            path.parent.mkdir(exist_ok=True)
            with open(path, "ab", buffering=0) as f:
                text = row.model_dump_json().encode()
                f.write(b"%08x %s\n" % (zlib.crc32(text), text))
        except OSError as e:
            raise UserError(f"cannot write {path} ({e.strerror}); free some space and run again") from e

    def rows(self, cell: str, name: str, kind: type[Row]) -> list[Row]:
        """The whole rows of a cell in the order they were added; from a damaged one on they are dropped from the file."""
        path = self.folder / cell / f"{name}.jsonl"
        if not path.exists():
            return []
        content, found, good = path.read_bytes(), [], 0
        for line in content.splitlines(keepends=True):
            stamp, _, text = line.partition(b" ")
            if not line.endswith(b"\n") or stamp != b"%08x" % zlib.crc32(text[:-1]):
                break
            try:
                found.append(kind.model_validate_json(text))
            except ValidationError:  # of another version
                break
            good += len(line)
        if good < len(content):
            write_whole(path, content[:good])
        return found

    def save_batch(self, cell: str, number: int, arrays: dict[str, np.ndarray]) -> None:
        """Keep the arrays of a batch of images, whole or not at all."""
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        write_whole(self.folder / cell / f"batch-{number:05d}.npz", buffer.getvalue(), durable=False)

    def has_batch(self, cell: str, number: int) -> bool:
        """Whether a batch is there, whole or not."""
        return (self.folder / cell / f"batch-{number:05d}.npz").exists()

    def batch(self, cell: str, number: int, only: Collection[str] | None = None) -> dict[str, np.ndarray] | None:
        """The arrays of a batch, or those of some names; None, and removed, where what is read of it is damaged."""
        path = self.folder / cell / f"batch-{number:05d}.npz"
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files if only is None or name in only}
        except FileNotFoundError:
            return None
        except (ValueError, OSError, EOFError, zipfile.BadZipFile):
            path.unlink()
            return None

    def forget(self, cell: str) -> None:
        """Remove a cell's scratch; its record is written."""
        shutil.rmtree(self.folder / cell, ignore_errors=True)

    def close(self) -> None:
        """Remove the folder if no cell left anything in it."""
        if self.folder.exists() and not any(self.folder.iterdir()):
            self.folder.rmdir()
