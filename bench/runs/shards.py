"""A part of a plan's cells, for machines that each measure their own, and runs of all parts made one again."""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import samplers
from bench.records.schema import Record
from bench.records.store import ERRORS, Store, read_lines
from bench.runs.cells import UNKNOWN, Cell, cells
from bench.runs.plan import Plan, read_plan
from samplers.errors import UserError, one_line
from samplers.files import alone_in, read_json, read_rows

KEY = "shard"
"""Of `identity.json`, in a run of a shard."""


@dataclass(frozen=True)
class Shard:
    """Part `index` (from 1) of `count` parts."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From "2/8".

        Raises:
            UserError: another text, or numbers out of range.
        """
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise UserError(f"shard '{one_line(text, 40)}' is no I/N with I from 1 to N; write 1/4 for the first of four")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def of(self, planned: Sequence[Cell]) -> list[Cell]:
        """Its cells of a plan, in the plan's order: dealt out like cards, those of most calls first.

        Raises:
            UserError: more shards than cells.
        """
        if self.count > len(planned):
            raise UserError(f"{self.count} shards of {len(planned)} cells; write at most {len(planned)}")
        dealt = sorted(planned, key=_calls, reverse=True)
        mine = set(dealt[self.index - 1 :: self.count])
        return [c for c in planned if c in mine]


def _calls(cell: Cell) -> int:
    try:
        return samplers.get(cell.sampler).card.calls(cell.steps)
    except UserError:
        return UNKNOWN.calls(cell.steps)


@dataclass(frozen=True)
class Part:
    """The run of a shard, in its folder."""

    folder: Path
    shard: Shard
    plan: Plan
    identity: dict[str, Any]
    records: list[Record]


def read_part(folder: Path) -> Part:
    """The run of a shard.

    Raises:
        UserError: none, not whole, or with a record that was edited by hand.
    """
    if not (folder / "plan.yaml").exists():
        raise UserError(f"no run at {one_line(folder)}; name folders that 'bench run --shard' made")
    identity = read_json(folder / "identity.json", "identity of a run", "name folders that 'bench run --shard' made")
    told = identity.pop(KEY, None)
    if not isinstance(told, str) or not isinstance(identity.get("students", {}), dict):
        raise UserError(f"{folder} is no run of a shard; name folders that 'bench run --shard' made")
    lines = read_lines(folder / "records.jsonl")
    if changed := [r.cell for r, edited in lines if edited]:
        raise UserError(f"{folder}: {changed[0]} was edited by hand; restore its line, or remove it and run again")
    part = Part(folder, Shard.parse(told), read_plan(folder / "plan.yaml"), identity, [r for r, _ in lines])
    wanted = part.shard.of(list(cells(part.plan)))
    lacking = len({*wanted} - {Cell.of(r) for r in part.records})
    if lacking:
        raise UserError(f"{folder} lacks {lacking} of its {len(wanted)} cells; run it to its end first")
    return part


def merge(runs: Sequence[str | Path], out: str | Path) -> list[Record]:
    """Write the runs of all shards of a plan as the run that one process would have written; returns its records.

    Raises:
        UserError: a shard that is missing, there twice or not whole, shards of different plans, students or machines, or a
            folder that holds another run.
    """
    if not runs:
        raise UserError("no runs to merge; name the folders of all shards of a plan")
    out = Path(out)
    parts = sorted((read_part(Path(f)) for f in runs), key=lambda p: p.shard.index)
    first = parts[0]
    for a, b in pairwise(parts):
        if a.plan != b.plan or a.shard.count != b.shard.count:
            raise UserError(f"{a.folder} and {b.folder} are of different plans or numbers of shards; merge those of one plan")
        if a.shard == b.shard:
            raise UserError(f"shard {a.shard} is there twice, in {a.folder} and {b.folder}; leave out one")
    there = {p.shard.index for p in parts}
    if missing := [str(Shard(i, first.shard.count)) for i in range(1, first.shard.count + 1) if i not in there]:
        raise UserError(f"of the plan's {first.shard.count} shards {', '.join(missing)} missing; name their runs too")
    identity = _one_identity(parts)
    with alone_in(out):
        store = Store(out, first.plan.text_in(out), identity)
        done = {Cell.of(r) for r in store.records()}
        found = {Cell.of(r): (r, p.folder) for p in parts for r in p.records}
        for cell in (c for c in cells(first.plan) if c not in done):
            record, folder = found[cell]
            influence = (f"influence/{cell.id}.npy", f"influence/{cell.id}{ERRORS}.npy")
            for name in (f"samples/{cell.id}.png", *influence, f"images/{cell.id}.npz"):
                if (folder / name).exists():
                    (out / name).parent.mkdir(exist_ok=True)
                    shutil.copyfile(folder / name, out / name)
            if (images := folder / "images" / cell.id).exists():
                shutil.copytree(images, out / "images" / cell.id, dirs_exist_ok=True)
            store.add(record)
        if (shown := first.folder / "samples" / "reference.png").exists():
            shutil.copyfile(shown, out / "samples" / "reference.png")
        if not (out / "sessions.jsonl").exists():
            for row in (row for p in parts for row in read_rows(p.folder / "sessions.jsonl")):
                store.add_session(row)
        store.scratch.close()
        return store.records()


def _one_identity(parts: Sequence[Part]) -> dict[str, Any]:
    """What all shards' records depend on; students are of one shard or several."""
    merged: dict[str, Any] = {}
    for p in parts:
        told = dict(p.identity)
        students = merged.get("students", {}) | told.pop("students", {})
        if merged and (differs := [k for k in told if json.dumps(told[k]) != json.dumps(merged.get(k))]):
            raise UserError(
                f"{p.folder} was run with another {', '.join(differs)} than {parts[0].folder}; its figures are of another run: "
                "run it again like the others, with --threads where these differ"
            )
        merged |= told | ({"students": students} if students else {})
    return merged
