"""The gate that needs no clock: every sampler's counts and images against those that the repository stores.

Exact, the same on every machine and at any load, so it can hold each push. Operators, synchronisations and peak bytes depend
on the version of PyTorch and the kind of device, so they are compared only with the same ones.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, Field, ValidationError

from bench.comparison.checkout import project_here, repository, state
from bench.comparison.subject import AbsentError, Subject, under_test
from bench.comparison.verdicts import Outcome, Row
from bench.comparison.work import NOT_FINITE, Work, compare_work, finite
from bench.machine.device import prepare_process, resolve_device
from samplers.errors import UserError, one_line
from samplers.files import read_json, write_json
from samplers.registry import GROUP, OURS, find, package_of
from samplers.spec import Spec

SCHEMA = 1
STORED = Path("results/gate/counts.json")
"""Where a repository keeps them, from its top."""
BUILD = ("operators", "synchronisations", "peak_bytes")
"""Counts that another build of PyTorch may change."""
REMAKE = "make it with 'bench gate --update'"


Text = Annotated[str, Field(max_length=200)]


class _Teacher(BaseModel, strict=True):
    name: Text
    sha256: Text | None


class Stored(BaseModel, strict=True):
    """What a file of counts must say."""

    torch: Text
    device: Literal["cpu", "cuda"]
    teacher: _Teacher
    calls: Annotated[int, Field(ge=1, le=1000)]
    cells: dict[Text, Work]


def path_of(given: Path | None) -> Path:
    """The file of counts: the one given, or STORED in the checkout that the current folder is in."""
    if given is not None:
        return given
    try:
        top = repository()
    except UserError:  # no checkout
        return STORED
    return STORED if top == Path.cwd() else top / STORED


def count(
    teacher: str = "mnist32",
    calls: int = 6,
    device: str = "cpu",
    advance: Callable[[str], None] = lambda _: None,
    also: Collection[str] = (),
) -> dict[str, Any]:
    """What samplers do in one pass at a budget of calls: {schema, torch, device, teacher, calls, cells, failed, others}.

    Counted are ours, those of the project whose checkout the current folder is in, and `also` these. The `others` that are
    installed, each with its package, are not run: a stranger's that hangs or fails is no matter of this repository.

    Args:
        teacher: name in the zoo, or path of a card.
        calls: budget of network calls.
        device: "auto", "cpu", "cuda" or "cuda:N".
        advance: told the sampler at hand.
        also: names of samplers.

    Raises:
        UserError: a bad teacher or device.
    """
    where = resolve_device(device)
    threads = torch.get_num_threads()
    prepare_process(where, threads=1)  # what is counted does not depend on them, and on a busy machine one is fastest
    try:
        side = Subject(teacher, where, calls)
        packages = {name: entry for name in side.names() if (entry := find(GROUP, name)) is not None}
        own = (OURS, project_here())
        others = {n: package_of(e) for n, e in packages.items() if package_of(e) not in own and n not in also}
        cells, failed = _cells(side, [n for n in side.names() if n not in others], advance)
    finally:
        torch.set_num_threads(threads)
    return {
        "schema": SCHEMA,
        "torch": torch.__version__.partition("+")[0],
        "device": where.type,
        "teacher": {"name": side.teacher.name, "sha256": side.teacher.sha256},
        "calls": calls,
        "cells": cells,
        "failed": failed,
        "others": others,
    }


def _cells(
    side: Subject, names: Sequence[str], advance: Callable[[str], None]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """What each sampler does at its largest step count within the budget, by "sampler@steps"; and why others failed."""
    cells, failed = {}, {}
    for name in names:
        advance(name)
        wanted = Spec.parse(name)
        try:
            steps = side.steps(wanted)
            found = side.sampler(wanted, steps, None)
        except AbsentError as e:  # of one without a student of this teacher, or whose shortest pass has more calls
            if e.broken:
                failed[name] = str(e)
            continue
        except UserError as e:  # a plug-in that cannot be used
            failed[name] = str(e)
            continue
        try:
            with under_test(found):
                cells[f"{name}@{steps}"] = side.count(found, steps).model_dump()
        except AbsentError as e:
            failed[f"{name}@{steps}"] = str(e)
    return cells, failed


def check(stored: dict[str, Any], path: Path, advance: Callable[[str], None] = lambda _: None) -> Outcome:
    """Count now, on the kind of device on which `stored` was counted, where there is one, and compare.

    Raises:
        UserError: its teacher is not there.
    """
    there = stored["device"] == "cpu" or torch.cuda.is_available()
    known = {str(Spec.parse(cell).at(None)) for cell in stored["cells"]}
    now = count(stored["teacher"]["name"], stored["calls"], stored["device"] if there else "cpu", advance, known)
    return Outcome((path.as_posix(), "now"), compare_counts(stored, now), {"schema": SCHEMA, "stored": stored, "now": now})


def compare_counts(stored: dict[str, Any], now: dict[str, Any]) -> list[Row]:
    """A row for each count of each cell that either has.

    A sampler of ours that is not stored yet is listed, and fails only if it makes NaN; a stranger's is listed.
    """
    rows: list[Row] = []
    other_build = (stored["torch"], stored["device"]) != (now["torch"], now["device"])
    other_teacher = stored["teacher"]["sha256"] != now["teacher"]["sha256"]
    known = {cell.partition("@")[0] for cell in stored["cells"]}
    for cell, why in now["failed"].items():
        rows.append(Row(cell, "cell", "", "", "wrong" if cell.partition("@")[0] in known else "skipped", why))
    for name, package in now["others"].items():
        rows.append(Row(name, "cell", "", "", "skipped", f"of {package}: not stored, so not judged"))
    for cell in sorted((stored["cells"].keys() | now["cells"].keys()) - now["failed"].keys()):
        if cell not in now["cells"]:
            rows.append(Row(cell, "cell", "counted", "", "not comparable", f"gone; if that is meant, {REMAKE}"))
        elif cell not in stored["cells"]:
            sound = finite(now["cells"][cell]["images"])
            new = ("skipped", f"not stored yet; {REMAKE}") if sound else ("wrong", NOT_FINITE)
            rows.append(Row(cell, "cell", "", "counted", *new))
        else:
            found = compare_work(cell, Work(**stored["cells"][cell]), Work(**now["cells"][cell]))
            rows += [
                r for r in found if not (other_build and r.quantity in BUILD) and not (other_teacher and r.quantity == "images")
            ]
    if other_build:
        a, b = (f"torch {s['torch']}, {s['device']}" for s in (stored, now))
        why = "they depend on the version and the device; compare revisions instead: bench gate REVISION --no-time"
        rows.append(Row("every cell", ", ".join(BUILD), a, b, "not comparable", why))
    if other_teacher:
        rows.append(Row("every cell", "images", "", "", "not comparable", f"the teacher has other weights; {REMAKE}"))
    return rows


def read(path: Path) -> dict[str, Any]:
    """Stored counts.

    Raises:
        UserError: no such file, another schema, or damaged.
    """
    found = read_json(path, "stored counts", f"restore it, or {REMAKE}", ("schema",))
    if found["schema"] != SCHEMA:
        raise UserError(f"{path} has schema {one_line(found['schema'], 30)}, this version reads {SCHEMA}; {REMAKE}")
    try:
        Stored.model_validate(found)
    except ValidationError as e:
        first = e.errors()[0]
        where = one_line(".".join(map(str, first["loc"])), 60)
        raise UserError(f"{path} holds no counts ({where}: {one_line(first['msg'], 60)}); restore it, or {REMAKE}") from e
    return found


def update(path: Path, device: str = "cpu", advance: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Count, and store with the commit of the checkout that the current folder is in.

    Raises:
        UserError: that has uncommitted changes, or there is none: nobody could tell later what was counted.
    """
    now = state(repository())
    if now.endswith("+"):
        raise UserError("the checkout has uncommitted changes; commit them, run 'bench gate --update', and amend the commit")
    found = {"commit": now, **count(device=device, advance=advance)}
    if found["failed"]:
        raise UserError(f"nothing is stored: {'; '.join(f'{k}: {v}' for k, v in found['failed'].items())}")
    del found["others"]
    write_json(path, found)
    return found
