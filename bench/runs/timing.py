"""Phase: timed repetitions in interleaved rounds, latency and throughput; its images go to a sink, it scores nothing.

In each round every cell has one turn, in a new random order, so that drift hits all alike.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from bench.instruments.clock import Elapsed
from bench.instruments.statistics import half_width, summarise, wants_more
from bench.instruments.warm_up import warm_up
from bench.machine.conditions import Reading, Watch, watched
from bench.machine.device import peak_memory_start
from bench.records.schema import WarmUp
from bench.records.store import Store
from bench.runs.executor import Pass
from bench.runs.measurement import Measurement
from bench.runs.phase import Phase
from bench.runs.plan import Plan
from bench.runs.session import Session
from samplers.time_limit import stop_in_time

Sink = Callable[[Measurement, int, Tensor, Session, Store], None]
"""sink(measurement, k, images, session, store): is handed the images of batch k."""


class Repetition(BaseModel):
    """One timed repetition: an image alone, and a batch.

    Attributes:
        latency: of one image.
        batch: of a batch.
        peak_bytes: of the batch, None where the system does not tell.
        reading: what `bench.machine.conditions` saw, None where it sees nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    latency: Elapsed
    batch: Elapsed
    peak_bytes: int | None
    reading: Reading | None

    @property
    def dropped(self) -> list[str]:
        """Why it is left out of the summaries; empty for one that is not."""
        return self.reading["dropped"] if self.reading else []

    @property
    def seconds(self) -> float:
        """Both parts, as the host saw them where it has a clock of its own."""
        return sum(e.seconds if e.host_seconds is None else e.host_seconds for e in (self.latency, self.batch))


class Timing(Phase):
    """Fills the record's `time`, but for what other phases time, and its `memory`.

    Args:
        sink: is handed each batch that is made for the first time.
    """

    name = "timing"

    def __init__(self, sink: Sink):
        self._sink = sink

    def wanted(self, plan: Plan) -> bool:
        return plan.repetitions > 0

    def cost(self, m: Measurement, session: Session, store: Store) -> int:
        p = session.plan
        left = max(p.repetitions - len(store.scratch.rows(m.cell.id, self.name, Repetition)), 0)
        return m.card.calls(m.cell.steps) * (left + bool(left)) * (1 + p.batch_size)

    def run(self, cells: Sequence[Measurement], session: Session, store: Store) -> None:
        timed = {m.cell.id: store.scratch.rows(m.cell.id, self.name, Repetition) for m in cells}
        warm = {m.cell.id: store.scratch.rows(m.cell.id, "warm_up", WarmUp) for m in cells}
        for m in session.display.each(cells, "warm-up"):
            if not warm[m.cell.id] or _pending(timed[m.cell.id], session.plan):
                m.attempt(lambda m: self._warm_up(m, warm[m.cell.id], session, store))
        order, turn = random.Random(session.plan.seed), 0
        while pending := [m for m in cells if m.error is None and _pending(timed[m.cell.id], session.plan)]:
            session.display.now(f"timing, round {turn + 1} of {max(session.plan.repetitions, turn + 1)}")
            behind = [m for m in pending if len(timed[m.cell.id]) <= turn]
            order.shuffle(behind)
            for m in behind:
                m.attempt(lambda m: self._repeat(m, timed[m.cell.id], session, store))
            if behind:
                stop_in_time()  # after a whole round: the warm-ups of all cells go before the first
            turn += 1
        for m in cells:
            if m.error is None:
                told = summary(timed[m.cell.id], m.cell.batch_size, session.plan.time_precision, session.watch)
                m.tell("time", clock=session.executor.clock.name, warm_up=warm[m.cell.id][0], **told)
                m.tell("memory", peak_bytes=peak_bytes(timed[m.cell.id]))

    def _warm_up(self, m: Measurement, told: list[WarmUp], session: Session, store: Store) -> None:
        executor, size = session.executor, session.plan.batch_size
        executor.ready(m, 1)
        executor.ready(m, size)

        def once() -> float:
            return sum(executor.sample(m, range(n)).elapsed.seconds for n in (1, size))

        found = WarmUp.model_validate(warm_up(once))
        if not told:  # the record tells of the first, whenever its run was interrupted
            told.append(found)
            store.scratch.append(m.cell.id, "warm_up", found)

    def _repeat(self, m: Measurement, timed: list[Repetition], session: Session, store: Store) -> None:
        """One image (latency) and one batch (throughput); the batches are those that are scored."""
        executor, size = session.executor, session.plan.batch_size
        whole = session.plan.images // size
        k = len(timed) % whole

        def both() -> tuple[Pass, Pass, int | None]:
            one = executor.sample(m, range(1))
            peak_memory_start(session.device)
            batch = executor.sample(m, range(k * size, (k + 1) * size))
            return one, batch, executor.peak(m, size)

        (one, batch, peak), reading = watched(session.watch, both)
        if not store.scratch.has_batch(m.cell.id, k):
            self._sink(m, k, batch.images, session, store)
        found = Repetition(latency=one.elapsed, batch=batch.elapsed, peak_bytes=peak, reading=reading)
        store.scratch.append(m.cell.id, self.name, found)
        timed.append(found)


def _pending(timed: Sequence[Repetition], plan: Plan) -> bool:
    good = [r for r in timed if not r.dropped]
    series = [[r.latency.seconds for r in good], [r.batch.seconds for r in good]]
    spent = sum(r.seconds for r in timed)
    least, precision, budget = plan.repetitions, plan.time_precision, plan.time_budget
    return wants_more(series, len(timed), spent, least=least, precision=precision, budget=budget)


def peak_bytes(timed: Sequence[Repetition]) -> int | None:
    """Of the timed batches, dropped ones too: memory does not depend on the clocks."""
    return max((r.peak_bytes for r in timed if r.peak_bytes is not None), default=None)


def summary(timed: Sequence[Repetition], size: int, asked: float | None, watch: Watch | None) -> dict[str, Any]:
    """The keys of the record's `time` that repetitions give: medians with intervals, and the raw values.

    Args:
        timed: in the order they were made.
        size: images of a batch.
        asked: the precision asked for.
        watch: gives the verdict on the conditions.
    """
    kept = [r for r in timed if not r.dropped] or timed  # all where none would be left
    gaps = [r.latency.gap for r in kept if r.latency.gap is not None]
    hosts = [r.latency.host_seconds for r in kept if r.latency.host_seconds is not None]
    widths = [half_width([e.seconds for e in times]) for times in ([r.latency for r in kept], [r.batch for r in kept])]
    readings = [r.reading for r in timed if r.reading is not None]
    return {
        "latency_ms": summarise([1e3 * r.latency.seconds for r in kept]),
        "host_latency_ms": summarise([1e3 * s for s in hosts]) if hosts else None,
        "launch_gap_ms": summarise([1e3 * s for s in gaps]) if gaps else None,
        "images_per_s": summarise([size / r.batch.seconds for r in kept]),
        "precision_asked": asked,
        "precision_reached": None if asked is None or None in widths else max(w for w in widths if w is not None),
        "conditions": watch.verdict(readings) if watch is not None else None,
        "raw": _raw(timed),
    }


def _raw(timed: Sequence[Repetition]) -> dict[str, Any]:
    """All repetitions in the order they were made, dropped ones too, by number with their reasons."""
    raw: dict[str, Any] = {
        "latency_ms": [round(1e3 * r.latency.seconds, 4) for r in timed],
        "batch_s": [round(r.batch.seconds, 6) for r in timed],
    }
    if any(r.latency.host_seconds is not None for r in timed):
        raw["host_latency_ms"] = [round(1e3 * (r.latency.host_seconds or 0), 4) for r in timed]
        raw["host_batch_s"] = [round(r.batch.host_seconds or 0, 6) for r in timed]
    if dropped := {str(i): r.dropped for i, r in enumerate(timed) if r.dropped}:
        raw["dropped"] = dropped
    return raw
