"""Timed repetitions in interleaved rounds: latency and throughput, then throughput's sweep over batch sizes, then energy."""

import dataclasses
import json
import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from bench.instruments.statistics import wants_more
from bench.instruments.warm_up import warm_up
from bench.machine.conditions import Watch
from bench.machine.device import peak_memory_start
from bench.machine.energy import energy_counter, energy_of
from bench.records.store import Store
from bench.runs.executor import Pass, Passes
from bench.runs.measurement import Job, Repetition
from bench.runs.plan import Plan
from bench.runs.sweep import Point, stopped, why
from samplers.errors import UserError
from samplers.time_limit import stop_in_time

Turn = TypeVar("Turn")
Keep = Callable[[Job, int, Tensor], None]
"""keep(job, k, images): the images of batch k, to be scored."""


def _ending(phase: Callable[["Rounds", Job, Point], None]) -> Callable[["Rounds", Job, Point], None]:
    """A phase of a sweep whose failure ends that cell's sweep, and nothing else."""

    def attempt(self: "Rounds", job: Job, point: Point) -> None:
        try:
            phase(self, job, point)
        except UserError:
            raise
        except Exception as e:
            point.error = why(e)

    return attempt


class Rounds:
    """Times jobs side by side: in each round every cell once, in a new random order, so that drift hits all alike.

    What was timed is kept as it comes; a run that was interrupted takes it from the store.

    Args:
        plan: repetitions, precision asked for, budget and sweep.
        passes: makes images, and times it.
        store: of the run.
        watch: of the conditions, or None.
        keep: is handed each batch that is still to be scored.
    """

    def __init__(self, plan: Plan, passes: Passes, store: Store, watch: Watch | None, keep: Keep):
        self.plan, self.passes, self.store, self.watch, self.keep = plan, passes, store, watch, keep
        self.order = random.Random(plan.seed)

    def run(self, jobs: Sequence[Job]) -> None:
        """Latency and throughput at the plan's batch size: `repetitions` of each cell, more where the precision needs them."""
        for job in jobs:
            parts = self.store.parts(job.cell.id, "timed").values()
            job.timed = [Repetition.from_dict(json.loads(str(part["repetition"]))) for part in parts]
            for part in self.store.parts(job.cell.id, "warm").values():
                job.warm_up = json.loads(str(part["warm_up"]))
            if self._pending(job):
                job.attempt(self._warm_up)
        turn = 0
        while pending := [j for j in jobs if self._pending(j)]:
            behind = self._shuffled([j for j in pending if len(j.timed) <= turn])
            for job in behind:
                job.attempt(self._repetition)
            if behind:
                stop_in_time()  # after a whole round: the warm-ups of all cells go before the first
            turn += 1

    def _shuffled(self, turns: list[Turn]) -> list[Turn]:
        self.order.shuffle(turns)
        return turns

    def _pending(self, job: Job) -> bool:
        p, spent = self.plan, sum(r.seconds for r in job.timed)
        return job.error is None and wants_more(
            job.series(), len(job.timed), spent, least=p.repetitions, precision=p.time_precision, budget=p.time_budget
        )

    def _warm_up(self, job: Job) -> None:
        self.passes.ready(job, 1)
        self.passes.ready(job, self.plan.batch_size)

        def once() -> float:
            one, batch = self.passes.sample(job, range(1)), self.passes.sample(job, range(self.plan.batch_size))
            return one.elapsed.seconds + batch.elapsed.seconds

        found = warm_up(once)
        if job.warm_up is None:  # the record tells of the first, whenever its run was interrupted
            job.warm_up = found
            self._save(job, "warm", "warm_up", found)

    def _repetition(self, job: Job) -> None:
        """One image (latency) and one batch (throughput); the batches are those that are scored, kept as they come."""
        r, size, whole = len(job.timed), self.plan.batch_size, self.plan.images // self.plan.batch_size
        k = r % whole

        def both() -> tuple[Pass, Pass, int | None]:
            one = self.passes.sample(job, range(1))
            peak_memory_start(self.passes.device)
            batch = self.passes.sample(job, range(k * size, (k + 1) * size))
            return one, batch, self.passes.peak(job, size)

        (one, batch, peak), reading = self._watched(both)
        if r < whole:
            self.keep(job, k, batch.images)
        repetition = Repetition(one.elapsed, batch.elapsed, batch.overhead, peak, reading)
        self._save(job, f"timed{r:06d}", "repetition", dataclasses.asdict(repetition))
        job.timed.append(repetition)

    def _save(self, job: Job, name: str, key: str, values: dict[str, Any]) -> None:
        self.store.save_part(job.cell.id, name, {key: np.array(json.dumps(values))})

    def _watched(self, run: Callable[[], Any]) -> tuple[Any, dict[str, Any] | None]:
        """What `run` returns, and what was seen of the machine meanwhile."""
        if self.watch is None:
            return run(), None
        before = self.watch.look()
        result = run()
        return result, self.watch.between(before, self.watch.look())

    # ------------------------------------------------------------------ sweep and energy

    def sweep(self, jobs: Sequence[Job]) -> None:
        """Throughput at the plan's `sweep` of batch sizes, each cell until it stops growing or memory ends."""
        for job in jobs:
            parts = self.store.parts(job.cell.id, "sweep").values()
            job.sweep = [Point(**json.loads(str(part["point"]))) for part in parts]
        for size in self.plan.sweep:
            going = [j for j in jobs if j.error is None and stopped(j.sweep, self.plan.sweep) is None]
            here = [(j, Point(size)) for j in going if size > max((p.batch_size for p in j.sweep), default=0)]
            for job, point in here:
                self._sweep_warm_up(job, point)
            for _ in range(self.plan.repetitions):
                for job, point in self._shuffled([(j, p) for j, p in here if p.error is None]):
                    self._sweep_pass(job, point)
            for job, point in here:
                if size not in (1, self.plan.batch_size):
                    job.runs.pop(size, None)
                self._save(job, f"sweep{size:06d}", "point", dataclasses.asdict(point))
                job.sweep.append(point)
            stop_in_time()

    @_ending
    def _sweep_warm_up(self, job: Job, point: Point) -> None:
        self.passes.ready(job, point.batch_size)
        warm_up(lambda: self.passes.sample(job, range(point.batch_size)).elapsed.seconds)

    @_ending
    def _sweep_pass(self, job: Job, point: Point) -> None:
        peak_memory_start(self.passes.device)
        made, reading = self._watched(lambda: self.passes.sample(job, range(point.batch_size)))
        peak = self.passes.peak(job, point.batch_size)
        point.peak_bytes = max(filter(None, (point.peak_bytes, peak)), default=None)
        point.seconds.append(made.elapsed.seconds)
        point.readings += [reading] if reading else []

    def energy(self, jobs: Sequence[Job]) -> None:
        """Energy of batches run back to back, where the device has a counter that can be read."""
        counter, size = energy_counter(self.passes.device), self.plan.batch_size

        def measure(job: Job) -> None:
            self.passes.ready(job, size)
            again = self.passes.again(job, size)
            again()
            job.energy = energy_of(again, size, counter)
            if job.energy is not None:
                self._save(job, "energy", "energy", job.energy)

        for job in jobs if counter is not None else ():
            for part in self.store.parts(job.cell.id, "energy").values():
                job.energy = json.loads(str(part["energy"]))
            if job.energy is None:
                job.attempt(measure)
                stop_in_time()
