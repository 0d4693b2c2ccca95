"""One fresh process of a comparison of two revisions: `python -m bench.comparison.paired_worker REQUEST RESULT` (JSON files).

It imports both revisions side by side, counts each cell on both, and times pairs until the request's rule is met.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from bench.comparison.checkout import Packages, Revision
from bench.comparison.subject import AbsentError, Subject, is_broken, under_test
from bench.comparison.verdicts import judge
from bench.comparison.work import NOT_FINITE, Work
from bench.instruments.clock import Clock
from bench.instruments.paired import Paired, Rule, Task, measure
from bench.machine.device import prepare_process, resolve_device
from bench.machine.environment import environment
from samplers.errors import UserError, one_line, unknown
from samplers.files import write_json
from samplers.spec import Spec


class PairOfRevisions:
    """Both revisions loaded on one teacher, in the order asked for (the second finds another heap than the first)."""

    def __init__(self, revisions: tuple[Revision, Revision], teacher: str, device: torch.device, calls: int, first: int):
        self.device = device
        self.packages, self.own = tuple(Packages(r) for r in revisions), tuple(r.own for r in revisions)
        card = revisions[0].root / "samplers" / "zoo" / f"{teacher}.json"
        named = str(card) if card.exists() else teacher  # the networks of side A for both
        sides: dict[int, Subject] = {}
        for i in (first, 1 - first):
            with self.packages[i].active():
                sides[i] = Subject(named, device, calls)
        self.sides = (sides[0], sides[1])

    @contextmanager
    def on(self, i: int) -> Iterator[Subject]:
        """Subject i, its packages importable."""
        with self.packages[i].active():
            yield self.sides[i]

    def every(self, cell: str) -> list[Spec]:
        """The cell, or where it asks for "all" one of each sampler of either side's own packages."""
        return [Spec.parse(name) for name in (sorted(self.own[0] | self.own[1]) if cell == "all" else [cell])]

    def strangers(self) -> list[str]:
        """Names of the samplers that are installed here and of neither revision: they cannot be loaded for both."""
        installed: set[str] = set()
        for i in range(2):
            with self.on(i) as side:
                installed |= {*side.names()}
        return sorted(installed - self.own[0] - self.own[1])

    def prepare(self, wanted: Spec) -> tuple[int, list[Any]]:
        """The cell's step count, and its sampler on either side.

        Raises:
            AbsentError: of which side (the first that lacks it), and why.
            UserError: neither side has such a sampler, or the options do not fit.
        """
        known = self.own[0] | self.own[1]
        if wanted.name not in known and wanted.name in self.strangers():
            raise UserError(f"sampler '{one_line(wanted.name)}' is of neither revision; compare two runs of it instead")
        if wanted.name not in known:
            raise unknown("sampler", wanted.name, known)
        found, steps, students = [], 0, None
        for i, packages in enumerate(self.packages):
            with self.on(i) as side:
                try:
                    if wanted.name not in self.own[i]:
                        raise AbsentError(f"there is no sampler {wanted.name}")
                    if i == 0:
                        steps, students = side.steps(wanted), side.students(wanted)
                    found.append(side.sampler(wanted, steps, students))
                except Exception as e:
                    if not isinstance(e, AbsentError) and not is_broken(e):
                        raise
                    name, broken = packages.revision.name, is_broken(e) or getattr(e, "broken", False)
                    raise AbsentError(f"{name}: {str(e).replace(str(packages.revision.root), name)}", i, broken) from e
        return steps, found

    def count(self, samplers: list[Any], steps: int) -> list[Work]:
        """Work of the cell on both sides.

        Raises:
            AbsentError: a side's pass fails.
        """
        found = []
        for i, sampler in enumerate(samplers):
            with self.on(i) as side, under_test(sampler, i, f"{self.packages[i].revision.name}: "):
                found.append(side.count(sampler, steps))
        return found

    def runs(self, samplers: list[Any], steps: int) -> tuple[Task, Task]:
        """A timed pass of each side, which has been seen to work.

        Raises:
            AbsentError: a side's pass fails.
        """
        both = (self.run(0, samplers[0], steps), self.run(1, samplers[1], steps))
        for i, run in enumerate(both):
            with under_test(samplers[i], i, f"{self.packages[i].revision.name}: "):
                if not torch.isfinite(run()[0]).all():
                    raise FloatingPointError(NOT_FINITE)
        return both

    def run(self, i: int, sampler: Any, steps: int) -> Task:
        """One timed pass at batch 1: its image and seconds; entering the revision is no part of what is timed (see `timed`)."""
        with self.on(i) as side:
            z, labels = side.inputs(1)

        @torch.no_grad()
        def once() -> tuple[torch.Tensor, float]:
            with self.on(i) as side:
                image, elapsed = Clock(self.device).time(lambda: sampler.sample(side.teacher, z, steps=steps, labels=labels))
            return image, elapsed.seconds

        return once


def timed(run: Task) -> float:
    """Seconds of a `PairOfRevisions.run`, which times itself."""
    return run()[1]


def judged(pairs: Paired, effect: float) -> dict[str, Any]:
    """What the pairs of a cell measured, with the verdict on it."""
    return pairs.summary() | {"verdict": judge(*pairs.interval(), effect)}


def work(request: dict[str, Any]) -> dict[str, Any]:
    """What one process finds.

    Args:
        request: sides (name, commit, root), teacher, cells (specs), calls, device, threads, effect,
            seconds (for all of this process), seed, first (side that is loaded first), count (whether to), and
            spawned, time.monotonic() when the process was asked for: what it took to start counts.
    """
    device = resolve_device(request["device"])
    prepare_process(device, request["threads"])
    a, b = (Revision(s["name"], s["commit"], Path(s["root"])) for s in request["sides"])
    contest = PairOfRevisions((a, b), request["teacher"], device, request["calls"], request["first"])
    absent: dict[str, tuple[int | None, str, bool]] = {}
    proxies: dict[str, list[dict[str, Any]]] = {}
    runs: dict[str, tuple[Task, Task]] = {}
    for w in [w for cell in request["cells"] for w in contest.every(cell)]:
        try:
            steps, found = contest.prepare(w)
            name = str(w.at(steps))
            if request["count"]:
                counted = [p.model_dump() for p in contest.count(found, steps)]
            both = contest.runs(found, steps)
        except AbsentError as e:
            absent[str(w)] = (e.side, str(e), e.broken)
            continue
        runs[name] = both
        if request["count"]:
            proxies[name] = counted
    started = time.monotonic() - request["spawned"]
    rule = Rule(request["effect"], request["seconds"] - started)
    pairs = measure(runs, rule, request["seed"], timed) if rule.seconds > 0 else {n: Paired() for n in runs}
    return {
        "cells": list(runs),
        "absent": absent,
        "strangers": contest.strangers() if "all" in request["cells"] else [],
        "proxies": proxies,
        "time": {n: judged(p, rule.effect) if p.a else None for n, p in pairs.items()},
        "first": request["first"],
        "seed": request["seed"],
        "start_s": round(started, 3),
        "environment": environment(device),
    }


def main() -> None:
    """Answer one request; a mistake is one line on standard error and exit code 2."""
    request, result = map(Path, sys.argv[1:])
    try:
        found = work(json.loads(request.read_text()))
        write_json(result, found, indent=None)
    except UserError as e:
        print(e, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
