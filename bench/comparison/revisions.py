"""Two revisions of the source tree against each other: counted, and timed in pairs, in fresh processes that must agree."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.comparison.checkout import Revision, exported
from bench.comparison.settings import ComparisonSettings
from bench.comparison.verdicts import PROCESSES, Outcome, Row, agreed, middle
from bench.comparison.work import Work, compare_work
from samplers.errors import UserError
from samplers.files import write_json
from samplers.spec import Spec

ENDING = 1.0
"""Seconds that a process takes to end after it has measured, on a busy machine."""


def compare_revisions(
    names: tuple[str, str], repo: Path, settings: ComparisonSettings, out: Path, advance: Callable[[str], None] = lambda _: None
) -> Outcome:
    """Compare two revisions ("working tree" is one, too); `out` gets what each process found as soon as it has.

    Two whose packages are the same files are counted, which finds an image that is not finite on both, but not timed.

    Raises:
        UserError: no such revision, or one that does not import; a bad teacher or device.
    """
    with exported(names, repo) as sides:
        tree = sides[0].tree
        if not settings.time or tree != sides[1].tree:
            return contest(sides, settings, out, advance)
        outcome = contest(sides, settings.model_copy(update={"time": False}), out, advance)
    why = f"nothing differs: the packages are the same files ({tree[:7]}), so nothing was timed"
    outcome.rows.append(Row("every cell", "time", "", "", "same", why))
    return outcome


def contest(
    sides: tuple[Revision, Revision], settings: ComparisonSettings, out: Path, advance: Callable[[str], None] = lambda _: None
) -> Outcome:
    """As `compare_revisions`, of revisions that are exported already."""
    begin, processes = time.monotonic(), []  # type: float, list[dict[str, Any]]
    for earlier in out.glob("process-*.json"):
        earlier.unlink()
    cells = list(settings.samplers)
    shared = {k: v for k, v in settings.values().items() if k in ("teacher", "device", "threads", "effect", "calls")}
    shared["sides"] = [{"name": s.name, "commit": s.commit, "root": str(s.root.resolve())} for s in sides]
    for k in range(PROCESSES if settings.time else 1):
        advance(f"process {k + 1}")
        left = (settings.budget - (time.monotonic() - begin)) / (PROCESSES - k) - ENDING
        request = {
            **shared,
            "cells": cells,
            "seconds": max(left, 0.0) if settings.time else 0.0,
            "seed": k,
            "first": k % 2,
            "count": k == 0,
            "spawned": time.monotonic(),
        }
        processes.append(_ask(request, out, k))
        cells = [n for n in processes[0]["cells"] if agreed(_verdicts(processes, n)) is None]
        if not cells:
            break
    labels = (_label(sides[0]), _label(sides[1]))
    data = {"schema": 1, "sides": shared["sides"], "terms": settings.values(), "processes": processes}
    for side in data["sides"]:
        side.pop("root")
    return Outcome(labels, _rows(processes, settings), data | {"seconds": round(time.monotonic() - begin, 1)})


def _label(side: Revision) -> str:
    return side.name if side.name.startswith(side.commit[:7]) else f"{side.name} ({side.commit[:7]}{side.commit[40:]})"


def _ask(request: dict[str, Any], out: Path, k: int) -> dict[str, Any]:
    """Run a fresh process and return what it found.

    Raises:
        UserError: it could not do it, with its own line.
    """
    asked, found = out / f"request-{k}.json", out / f"process-{k}.json"
    write_json(asked, request, indent=None)
    p = subprocess.run(
        [sys.executable, "-m", "bench.comparison.paired_worker", asked, found], stderr=subprocess.PIPE, text=True
    )
    asked.unlink()
    if p.returncode or not found.exists():
        told = p.stderr.strip().splitlines() or [f"process {k} ended with code {p.returncode}"]
        raise UserError(told[-1])
    return json.loads(found.read_text())


def _verdicts(processes: Sequence[dict[str, Any]], cell: str) -> list[str]:
    """What each process that timed a cell says of it."""
    told = [p["time"].get(cell) for p in processes if cell in p["time"]]
    return [t["verdict"] if t else "ambiguous" for t in told]


def _rows(processes: list[dict[str, Any]], settings: ComparisonSettings) -> list[Row]:
    """Counts and images from the first process, time from all."""
    first, asked = processes[0], {str(Spec.parse(s)) for s in settings.samplers}
    rows = []
    for cell, (side, why, broken) in first["absent"].items():
        # What "all" brought in is only news where the first side has it not, and a loss where the second has it no more.
        new = side == 0 and cell not in asked
        verdict = "wrong" if broken and side == 1 else "skipped" if new else "not comparable"
        rows.append(Row(cell, "sampler", "", "", verdict, why))
    rows += [Row(n, "sampler", "", "", "skipped", "of neither revision, so not judged") for n in first["strangers"]]
    for cell in first["cells"]:
        if cell in first["proxies"]:
            a, b = (Work(**p) for p in first["proxies"][cell])
            rows += compare_work(cell, a, b)
        if settings.time:
            rows.append(_timed_row(processes, cell, settings))
    return rows


def _timed_row(processes: list[dict[str, Any]], cell: str, settings: ComparisonSettings) -> Row:
    """The verdict on a cell's time, and the middle one of the processes' ratios."""
    told = [t for p in processes if (t := p["time"].get(cell))]
    verdict = agreed(_verdicts(processes, cell)) or "ambiguous"
    if not told:
        return Row(cell, "time", "", "", "ambiguous", f"no time left to measure: raise --budget above {settings.budget:g} s")
    found = middle(told)
    a, b, note = "", "", "too few pairs"
    if found is not None:
        least, ratio, most = (100 * (found[k] - 1) for k in ("ratio_low", "ratio", "ratio_high"))
        a, b = f"{found['a_ms']:.2f} ms", f"{found['b_ms']:.2f} ms"
        note = f"{ratio:+.2f} % [{least:+.2f}, {most:+.2f}]"
    note += f", {len(told)} processes, {sum(t['pairs'] for t in told)} pairs"
    if verdict == "ambiguous":
        note += f"; not decided at an effect of {100 * settings.effect:g} %: raise --budget or quieten the machine"
    data = {"processes": [{k: v for k, v in t.items() if k != "log_ratios"} for t in told]}
    return Row(cell, "time", a, b, verdict, note, data)
