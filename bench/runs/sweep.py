"""Phase: throughput over batch sizes, each cell until it stops growing or memory ends."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, Field

from bench.instruments.statistics import summarise
from bench.instruments.warm_up import warm_up
from bench.machine.conditions import Reading, Watch, watched
from bench.machine.device import peak_memory_start
from bench.records.store import Store
from bench.runs.measurement import Measurement
from bench.runs.phase import Phase
from bench.runs.plan import Plan
from bench.runs.session import Session
from samplers.errors import PluginError, UserError, one_line
from samplers.time_limit import stop_in_time

GROWTH = 1.03
"""Times the best throughput so far, which a larger batch must reach for the sweep to go on."""


class BatchSize(BaseModel):
    """One batch size of a cell's sweep.

    Attributes:
        batch_size: images of one pass.
        seconds: of each timed pass.
        readings: of the conditions during each, where they can be seen.
        peak_bytes: the most that one took, None where the system does not tell.
        error: why the size could not be measured.
    """

    batch_size: int
    seconds: list[float] = Field(default_factory=list)
    readings: list[Reading] = Field(default_factory=list)
    peak_bytes: int | None = None
    error: str | None = None

    @property
    def kept(self) -> list[float]:
        """Seconds of the passes that were not disturbed, or of all where none would be left."""
        disturbed = [bool(r["dropped"]) for r in self.readings] or [False] * len(self.seconds)
        return [s for s, bad in zip(self.seconds, disturbed, strict=True) if not bad] or self.seconds

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.batch_size / float(np.median(self.kept))

    def record(self, watch: Watch | None) -> dict[str, Any]:
        """The point in the record's `time.sweep`, with the conditions of its own passes."""
        return {
            "batch_size": self.batch_size,
            "images_per_s": summarise([self.batch_size / s for s in self.kept]),
            "peak_bytes": self.peak_bytes,
            "conditions": watch.verdict(self.readings) if watch is not None else None,
        }


class Sweep(Phase):
    """Fills `time.sweep` and `time.sweep_stopped`."""

    name = "sweep"

    def wanted(self, plan: Plan) -> bool:
        return bool(plan.sweep)

    def cost(self, m: Measurement, session: Session, store: Store) -> int:
        done = {p.batch_size for p in store.scratch.rows(m.cell.id, self.name, BatchSize)}
        left = sum(size for size in session.plan.sweep if size not in done)
        return m.card.calls(m.cell.steps) * session.plan.repetitions * left

    def run(self, cells: Sequence[Measurement], session: Session, store: Store) -> None:
        sizes, order = session.plan.sweep, random.Random(session.plan.seed)
        found = {m.cell.id: store.scratch.rows(m.cell.id, self.name, BatchSize) for m in cells}
        for size in sizes:
            session.display.now(f"sweep, batch {size}")
            going = [m for m in cells if m.error is None and stopped(found[m.cell.id], sizes) is None]
            here = [(m, BatchSize(batch_size=size)) for m in going if size not in {p.batch_size for p in found[m.cell.id]}]
            for m, point in here:
                _ending(self._warm_up, m, point, session)
            for _ in range(session.plan.repetitions):
                turns = [(m, point) for m, point in here if point.error is None]
                order.shuffle(turns)
                for m, point in turns:
                    _ending(self._pass, m, point, session)
            for m, point in here:
                if size not in (1, session.plan.batch_size):
                    session.executor.forget(m, size)
                store.scratch.append(m.cell.id, self.name, point)
                found[m.cell.id].append(point)
            stop_in_time()
        for m in cells:
            points = found[m.cell.id]
            swept = [p.record(session.watch) for p in points if p.error is None]
            m.tell("time", sweep=swept, sweep_stopped=stopped(points, sizes))

    def _warm_up(self, m: Measurement, point: BatchSize, session: Session) -> None:
        session.executor.ready(m, point.batch_size)
        warm_up(lambda: session.executor.sample(m, range(point.batch_size)).elapsed.seconds)

    def _pass(self, m: Measurement, point: BatchSize, session: Session) -> None:
        executor, size = session.executor, point.batch_size
        peak_memory_start(session.device)
        made, reading = watched(session.watch, lambda: executor.sample(m, range(size)))
        point.peak_bytes = max(filter(None, (point.peak_bytes, executor.peak(m, size))), default=None)
        point.seconds.append(made.elapsed.seconds)
        point.readings += [reading] if reading else []


Work = Callable[[Measurement, BatchSize, Session], None]


def _ending(work: Work, m: Measurement, point: BatchSize, session: Session) -> None:
    """Do some work whose failure ends that cell's sweep, and nothing else."""
    try:
        work(m, point, session)
    except PluginError as e:
        point.error = one_line(e)
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as e:  # a stranger's code may even ask to exit
        point.error = why(e)


def stopped(points: Sequence[BatchSize], sizes: Sequence[int]) -> str | None:
    """Why a sweep over `sizes` ends after these points; None if it goes on."""
    if not points:
        return None
    *before, last = points
    if last.error is not None:
        return f"{last.error} at batch {last.batch_size}"
    if before and last.rate < GROWTH * max(p.rate for p in before):
        return f"throughput grew by less than {GROWTH - 1:.0%} at batch {last.batch_size}"
    return "every size was measured" if last.batch_size == sizes[-1] else None


def why(error: BaseException) -> str:
    """What ended a sweep, in a few words."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):  # the CPU's allocator
        return "out of memory"
    return f"{type(error).__name__}: {one_line(error)}"
