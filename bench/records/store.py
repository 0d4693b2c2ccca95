"""Records on disk: one JSON object a line, written whole or not at all."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from bench.records.schema import Record
from bench.records.scratch import Scratch
from bench.records.versions import edited, signed, upgrade
from samplers.errors import UserError
from samplers.files import read_json, write_json, write_whole

ERRORS = ".error"
"""What the name of a cell's file of squared errors ends in."""


class Store:
    """A run's folder: `plan.yaml`, `records.jsonl`, `sessions.jsonl`, `samples/`, `influence/`, and `partial/` while it runs.

    Args:
        folder: made if needed.
        plan: what it is a run of, as YAML; kept as `plan.yaml`.
        identity: what else the records depend on (hashes of weights, device); kept as `identity.json`.

    Raises:
        UserError: the folder holds another plan's run, or cannot be read or written.
    """

    def __init__(self, folder: Path, plan: str, identity: dict[str, Any]):
        self.folder = folder
        self._records = folder / "records.jsonl"
        there, stamp = folder / "plan.yaml", folder / "identity.json"
        if there.exists() and there.read_bytes() != plan.encode():
            raise UserError(
                f"{folder} holds a run of another plan; choose another --out, or run 'bench run --plan {there}' to go on"
            )
        mend = "put it back, or choose another --out"
        before = read_json(stamp, "identity of a run", mend) if stamp.exists() else identity
        if before != identity:
            differs = ", ".join(sorted(k for k in identity.keys() | before.keys() if identity.get(k) != before.get(k)))
            raise UserError(f"{folder} holds this plan's run with another {differs}; choose another --out or remove the folder")
        try:
            for name in ("samples", "influence"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            self.scratch = Scratch(folder / "partial")
        except OSError as e:
            raise UserError(f"cannot make a run's folder at {folder} ({e.strerror}); choose another --out") from e
        if not there.exists():
            write_whole(there, plan.encode())
        if not stamp.exists():
            write_json(stamp, identity)
        self._mend()

    def _mend(self) -> None:
        """Drop a last line that a kill or a full disk cut short."""
        if self._records.exists():
            content = self._records.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            if whole != content:
                write_whole(self._records, whole)

    def records(self) -> list[Record]:
        """The record of each cell so far, oldest first; the last one of a cell that was measured again."""
        found = read_records(self._records) if self._records.exists() else []
        return list({r.cell: r for r in found}.values())

    def add(self, record: Record) -> None:
        """Append a record, or leave the file as it was, and forget the scratch of its cell.

        Raises:
            UserError: the disk is full or the file cannot be written.
        """
        _append(self._records, signed(record))
        self.scratch.forget(record.cell)

    def add_session(self, session: dict[str, Any]) -> None:
        """Append what one invocation of `bench run` took."""
        _append(self.folder / "sessions.jsonl", session)

    def save_row(self, name: str, images: np.ndarray) -> None:
        """Write images uint8 [B, C, H, W] as one row, `samples/NAME.png`."""
        self.save_grid(name, images[None])

    def save_grid(self, name: str, images: np.ndarray) -> None:
        """Write images uint8 [R, B, C, H, W] as R rows, `samples/NAME.png`: three of their channels, or one."""
        from PIL import Image

        rows, columns, channels, height, width = images.shape
        row = images.transpose(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels)  # [R H, B W, C]
        buffer = io.BytesIO()
        Image.fromarray(row[..., 0] if channels < 3 else row[..., :3]).save(buffer, "PNG")
        write_whole(self.folder / "samples" / f"{name}.png", buffer.getvalue())

    def save_influence(self, cell: str, values: np.ndarray) -> None:
        """Write the influence of each image on the Frechet distance, `influence/CELL.npy`, float32 [N]."""
        self._save_values(cell, values)

    def save_errors(self, cell: str, values: np.ndarray) -> None:
        """Write the squared distance of each image to its converged one, `influence/CELL.error.npy`, float32 [T]."""
        self._save_values(f"{cell}{ERRORS}", values)

    def _save_values(self, name: str, values: np.ndarray) -> None:
        buffer = io.BytesIO()
        np.save(buffer, values.astype(np.float32))
        write_whole(self.folder / "influence" / f"{name}.npy", buffer.getvalue())


def threads_of(folder: Path) -> int | None:
    """The CPU threads that the run in a folder chose when it began; None where it did not choose, or nothing tells."""
    try:
        told = json.loads((folder / "identity.json").read_bytes())["threads"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None  # `Store` says what is wrong
    return told if type(told) is int and told > 0 else None


def read_records(path: Path) -> list[Record]:
    """The records of a `records.jsonl`, as `read_lines` has them."""
    return [record for record, _ in read_lines(path)]


def read_lines(path: Path) -> list[tuple[Record, bool]]:
    """The records of a `records.jsonl`, each with whether its line was edited by hand; a last line without its end is left out.

    Raises:
        UserError: no such file, or a whole line that is not a record.
    """
    try:
        content = path.read_text()
    except OSError as e:
        raise UserError(f"no records at {path} ({e.strerror}); name a folder that 'bench run' made") from e
    except UnicodeDecodeError as e:
        raise UserError(f"{path} is not a file of records; name a folder that 'bench run' made") from e
    records = []
    for number, line in enumerate(content[: content.rfind("\n") + 1].split("\n")[:-1], 1):
        try:
            values = json.loads(line)
            records.append((upgrade(values), edited(values)))
        except (ValueError, RecursionError) as e:
            raise UserError(f"{path}, line {number} is not a record; restore the file or remove the line") from e
        except UserError as e:
            raise UserError(f"{path}, line {number} {e}") from e
    return records


def _append(path: Path, value: dict[str, Any]) -> None:
    line = (json.dumps(value) + "\n").encode()
    try:
        with open(path, "ab", buffering=0) as f:  # unbuffered: nothing of a failed line is left to be flushed later
            before = f.tell()
            try:
                left = memoryview(line)
                while left:
                    left = left[f.write(left) :]
                os.fsync(f.fileno())
            except OSError:
                os.ftruncate(f.fileno(), before)
                raise
    except OSError as e:
        raise UserError(
            f"cannot write {path} ({e.strerror}); nothing already there is lost. Free some space and run again"
        ) from e
