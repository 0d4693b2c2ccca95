"""Files cut into parts for a journey: safetensors of bytes named by their hash, and a table of contents that verifies them.

`python -m bench.studies.parts pack OUT PATH...` cuts files and folders, `python -m bench.studies.parts unpack FOLDER OUT` puts
them together again.

Every part and every file has its SHA-256 in the table, and the table is written
last. Parts are a stream's slices, so what was packed before keeps its parts when more is added behind it.
"""

import hashlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from samplers.errors import UserError, in_short
from samplers.files import read_json, sha256, write_json, write_whole
from samplers.models.weights import load_tensors

TABLE = "contents.json"
MIB = 2**20
JOURNEY = 60 * MIB
"""Bytes of a part of data or packages on the way to a rented machine."""


@dataclass(frozen=True)
class Item:
    """A file to pack: its path in the parcel, and where it lies."""

    path: str
    source: Path


@dataclass(frozen=True)
class Part:
    """A slice of the stream, ready to write: safetensors of bytes."""

    content: bytes
    sha256: str

    @property
    def file(self) -> str:
        """Its file's name."""
        return f"part-{self.sha256[:16]}.safetensors"


@dataclass(frozen=True)
class Parcel:
    """Parts in order, and the files they hold: {path, bytes, sha256}."""

    parts: list[Part]
    files: list[dict[str, Any]]

    def size(self, held: Iterable[str] = ()) -> int:
        """Bytes of the parts, without those whose SHA-256 is in `held`."""
        held = set(held)
        return sum(len(p.content) for p in self.parts if p.sha256 not in held)


def pack(items: Sequence[Item], limit: int = JOURNEY) -> Parcel:
    """Cut files, in order, into parts of at most `limit` bytes."""
    room = limit - limit // 32  # for the names of the pieces
    parts, files = [], []  # type: list[Part], list[dict[str, Any]]
    pieces: dict[str, Tensor] = {}
    left = room

    def close() -> None:
        nonlocal pieces, left
        content = save(pieces)
        parts.append(Part(content, hashlib.sha256(content).hexdigest()))
        pieces, left = {}, room

    for item in items:
        whole = item.source.read_bytes()
        files.append({"path": item.path, "bytes": len(whole), "sha256": hashlib.sha256(whole).hexdigest()})
        start = 0
        while start < len(whole) or (start == 0 and not whole):
            if left <= 0:
                close()
            piece = whole[start : start + left]
            pieces[f"{start}:{item.path}"] = torch.frombuffer(bytearray(piece), dtype=torch.uint8) if piece else torch.empty(0)
            left -= len(piece) + 256  # a name's share of the header
            start += len(piece)
            if not whole:
                break
    if pieces:
        close()
    return Parcel(parts, files)


def write(parcel: Parcel, folder: Path, told: dict[str, Any] | None = None, held: Iterable[str] = ()) -> Path:
    """Write a parcel's parts and then its table of contents, and remove parts of an older one; returns the table's path.

    Args:
        folder: made if needed; only parts and the table are in it.
        told: what the table says besides.
        held: SHA-256 of parts that its reader has already: told of, not written.
    """
    held = set(held)
    rows = []
    for p in parcel.parts:
        rows.append({"file": p.file, "bytes": len(p.content), "sha256": p.sha256, "held": p.sha256 in held})
        path = folder / p.file
        if p.sha256 not in held and not (path.exists() and sha256(path) == p.sha256):
            write_whole(path, p.content)
    table = {"kind": "parcel", **(told or {}), "parts": rows, "files": parcel.files}
    write_json(folder / TABLE, table)
    current = {r["file"] for r in rows if not r["held"]}
    for path in folder.glob("part-*.safetensors"):
        if path.name not in current:
            path.unlink()
    return folder / TABLE


def read_table(folder: Path) -> dict[str, Any]:
    """A folder's table of contents.

    Raises:
        UserError: none there, or not one.
    """
    path = folder / TABLE
    fix = "name a folder that this module or 'bench campaign' wrote"
    table = read_json(path, "table of contents", fix, ("kind", "parts", "files"))
    if table["kind"] != "parcel":
        raise UserError(f"{path} is not a table of contents; {fix}")
    return table


def unpack(folder: Path, out: Path) -> dict[str, Any]:
    """Write a parcel's files into `out`, each whole and verified; returns the table of contents.

    Raises:
        UserError: a part missing, damaged or altered, or a path that leads out of `out`; nothing is written then.
    """
    table = read_table(folder)
    try:
        pieces: dict[str, list[tuple[int, Tensor]]] = {}
        for row in table["parts"]:
            path = folder / row["file"]
            if not path.is_file():
                raise UserError(f"{path} is missing; put the parts that came earlier beside {TABLE}, all in one folder")
            for name, tensor in load_tensors(path, row["sha256"])[0].items():
                start, _, path_inside = name.partition(":")
                pieces.setdefault(path_inside, []).append((int(start), tensor))
        contents = {}
        for row in table["files"]:
            target = PurePosixPath(row["path"])
            if target.is_absolute() or ".." in target.parts:
                raise UserError(f"{folder / TABLE} names '{row['path']}', which leads out of the folder; do not trust it")
            found = b"".join(t.numpy().tobytes() for _, t in sorted(pieces.get(row["path"], []), key=lambda p: p[0]))
            if hashlib.sha256(found).hexdigest() != row["sha256"]:
                raise UserError(f"{folder}: '{row['path']}' is not the file that was packed (SHA-256 differs); pack it again")
            contents[row["path"]] = found
    except (KeyError, TypeError, ValueError) as e:
        raise UserError(f"{folder / TABLE} lacks a key or has a wrong one: {e}; pack again") from e
    for name, content in contents.items():
        write_whole(out / name, content)
    return table


def items_of(paths: Sequence[Path]) -> list[Item]:
    """Files, and all files in folders, under their own names.

    Raises:
        UserError: one that is not there, or two of one name.
    """
    items: dict[str, Item] = {}
    for path in paths:
        if not path.exists():
            raise UserError(f"no file or folder {path} to pack")
        found = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for p in found:
            name = p.relative_to(path.parent).as_posix()
            if name in items:
                raise UserError(f"two files to pack are called {name}; pack them one after another")
            items[name] = Item(name, p)
    return list(items.values())


def main(words: Sequence[str]) -> str:
    """Pack or unpack, and say what was done.

    Raises:
        UserError: neither, or what `pack` and `unpack` refuse.
    """
    if words[:1] == ["pack"] and len(words) > 2:
        parcel = pack(items_of([Path(p) for p in words[2:]]))
        return f"{len(parcel.files)} files in {len(parcel.parts)} parts: {write(parcel, Path(words[1]))}"
    if words[:1] == ["unpack"] and len(words) == 3:
        return f"{len(unpack(Path(words[1]), Path(words[2]))['files'])} files in {words[2]}"
    raise UserError("write 'pack OUT PATH...' or 'unpack FOLDER OUT'")


if __name__ == "__main__":
    try:
        print(main(sys.argv[1:]))
    except (UserError, OSError) as e:
        sys.exit(f"bench.studies.parts: {in_short(e)}")
