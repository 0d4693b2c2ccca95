"""How often the verdicts of `bench compare` err: many comparisons whose truth is known, beside a busy neighbour.

    python -m bench.comparison.calibration --trials 100 --out results/gate-calibration

Each trial is one comparison as `bench compare` makes it, in fresh processes of which two of three must agree, of a revision
with itself. Both sides get samplers that are DDIM on a network with a delay: after each call it keeps the core busy for a share
of the time which that call took. Side A's delays are all 0. Side B's are 0, which must never be called slower or faster; 2 %,
which must never be called faster; and 5 %, which must be found as slower. All three are decided in the same trial, in one
budget. Meanwhile another process loads one core with matrix products for half of the time, in bursts of random length.
"""

import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import psutil
import torch
import typer

from bench.comparison.checkout import WORKING_TREE, Revision, exported, repository, state, write_entry_points
from bench.comparison.revisions import contest
from bench.comparison.settings import ComparisonSettings
from bench.comparison.verdicts import Outcome
from bench.machine.environment import environment
from samplers.errors import UserError
from samplers.files import read_rows, write_json, write_whole
from samplers.training.precision import own_cores

DELAYS = {"delay_0": 0.0, "delay_2": 0.02, "delay_5": 0.05}
"""Sampler -> share of each call's time that side B's network waits longer."""
SHARE, BURST, MATRIX = 0.5, (0.1, 1.9), 512
"""What loads the other core: share of the time, length of a burst in seconds (uniform), size of its matrix products."""
ENTRY = '[project.entry-points."bench.samplers"]\n'
MODULE = '''"""DDIM on a network that waits after each call, for a share of the time which the call took."""

from dataclasses import replace
from time import perf_counter

from samplers.solvers.euler import DDIM


class _Late:
    def __init__(self, denoiser, share):
        self._denoiser, self._share = denoiser, share

    def __getattr__(self, name):
        return getattr(self._denoiser, name)

    def __call__(self, x, sigma, labels=None):
        begin = perf_counter()
        found = self._denoiser(x, sigma, labels)
        until = begin + (1 + self._share) * (perf_counter() - begin)
        while perf_counter() < until:
            pass
        return found


class _Delayed(DDIM):
    share = 0.0

    def sample(self, denoiser, noise, **options):
        return super().sample(_Late(denoiser, self.share), noise, **options)

'''


def delayed(root: Path, delays: dict[str, float]) -> None:
    """Add a sampler for each of `delays` (name -> share of a call's time) to an exported revision."""
    classes = [
        f'\nclass {name.title()}(_Delayed):\n    share = {share!r}\n    card = replace(DDIM.card, name="{name}")\n'
        for name, share in delays.items()
    ]
    (root / "samplers" / "delayed.py").write_text(MODULE + "\n".join(classes))
    project = (root / "pyproject.toml").read_text()
    if ENTRY not in project:
        raise UserError(f"pyproject.toml has no line {ENTRY.strip()}; calibrate with another revision")
    added = "".join(f'{name} = "samplers.delayed:{name.title()}"\n' for name in delays)
    (root / "pyproject.toml").write_text(project.replace(ENTRY, ENTRY + added))
    write_entry_points(root, "the calibrated one")


def load_core(core: int, seed: int) -> None:
    """Be the neighbour while the parent lives: bursts of matrix products on one core, with pauses as long as SHARE leaves."""
    parent = os.getppid()
    with suppress(AttributeError):  # macOS pins no process to a core
        psutil.Process().cpu_affinity([core])
    torch.set_num_threads(1)
    order, x = random.Random(seed), torch.randn(MATRIX, MATRIX)
    while os.getppid() == parent:
        burst = order.uniform(*BURST)
        end = time.perf_counter() + burst
        while time.perf_counter() < end:
            x @ x
        time.sleep(burst * (1 / SHARE - 1))


@contextmanager
def neighbour(seed: int) -> Iterator[int]:
    """The loading process, by its number, gone afterwards."""
    core = max(own_cores())
    process = multiprocessing.get_context("spawn").Process(target=load_core, args=(core, seed), daemon=True)
    process.start()
    try:
        yield process.pid or 0
    finally:
        process.terminate()
        process.join()


def busy_seconds(pid: int) -> float | None:
    """Seconds that a process has been on a core so far; None where the system does not tell."""
    try:
        spent = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return None
    return spent.user + spent.system


def trial(sides: tuple[Revision, Revision], settings: ComparisonSettings, folder: Path, pid: int) -> dict[str, Any]:
    """One comparison: {seconds, neighbour, cells: {name: {delay, verdict, processes}}} with what each process measured."""
    begin, before = time.perf_counter(), busy_seconds(pid)
    outcome = contest(sides, settings, folder)
    seconds, after = time.perf_counter() - begin, busy_seconds(pid)
    share = None if before is None or after is None else round((after - before) / seconds, 3)
    return {"seconds": round(seconds, 2), "neighbour": share, "cells": cells_of(outcome)}


def cells_of(outcome: Outcome) -> dict[str, dict[str, Any]]:
    """The verdicts on time, by sampler."""
    rows = {r.cell.partition("@")[0]: r for r in outcome.rows if r.quantity == "time"}
    return {
        name: {"delay": share, "verdict": rows[name].verdict, "processes": rows[name].data.get("processes", [])}
        for name, share in DELAYS.items()
    }


def calibrate(trials: int, out: Path, *, effect: float = 0.05) -> list[dict[str, Any]]:
    """Make trials until `out` holds so many; `trials.jsonl` gets each as soon as it is done.

    Args:
        trials: how many in all.
        out: folder; what it holds already must be of the same setting.
        effect: relative slowdown that must be found.

    Raises:
        UserError: trials of another setting, machine or revision in `out`; no git checkout.
    """
    settings = ComparisonSettings(samplers=tuple(f"{name}@2" for name in DELAYS), effect=effect, budget=30.0)
    log, stamp = out / "trials.jsonl", out / "setting.json"
    repo = repository()
    with exported((WORKING_TREE, WORKING_TREE), repo) as sides, tempfile.TemporaryDirectory() as folder:
        for side, delays in zip(sides, (dict.fromkeys(DELAYS, 0.0), DELAYS), strict=True):
            delayed(side.root, delays)
        machine = {k: v for k, v in environment(torch.device("cpu")).items() if k not in ("load_average", "threads", "commit")}
        setting = {
            "commit": state(repo),  # the harness is part of what is calibrated
            "terms": settings.values(),
            "neighbour": {"share": SHARE, "burst_s": BURST, "matrix": MATRIX},
            "environment": machine,
        }
        setting = json.loads(json.dumps(setting))
        if stamp.exists() and json.loads(stamp.read_text()) != setting:
            raise UserError(f"{out} holds trials of another setting, machine or revision; choose another --out")
        write_json(stamp, setting)
        done = read_rows(log)
        write_whole(log, "".join(json.dumps(t) + "\n" for t in done).encode())  # without a line that a kill cut short
        with neighbour(len(done)) as pid:
            for number in range(len(done), trials):
                done.append({"trial": number, **trial(sides, settings, Path(folder), pid)})
                with open(log, "a") as f:
                    f.write(json.dumps(done[-1]) + "\n")
                told = ", ".join(f"{name} {cell['verdict']}" for name, cell in done[-1]["cells"].items())
                print(f"trial {number + 1} of {trials}, {done[-1]['seconds']:.0f} s: {told}", file=sys.stderr, flush=True)
    return done


def main(
    trials: Annotated[int, typer.Option(help="how many in all; those already in the folder count")] = 100,
    out: Annotated[Path, typer.Option(help="folder of trials.jsonl, table and figure")] = Path("runs/gate-calibration"),
    report: Annotated[bool, typer.Option("--report", help="table and figure only, from the trials that are there")] = False,
) -> None:
    """Make the trials (or go on), then the table and the figure."""
    from bench.comparison.calibration_page import write_page

    if not report:
        calibrate(trials, out)
    print(f"page: {write_page(out)}")


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as e:
        print(f"bench.comparison.calibration: {e}", file=sys.stderr)
        sys.exit(2)
