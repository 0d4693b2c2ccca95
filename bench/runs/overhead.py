"""Phase: what a sampler costs beyond its network calls, from passes of its own.

Both times of a pass come from one run, so their ratio is free of drift: the whole, and what lies between the marks before and
after each network call. The marks cost something themselves, so passes that carry them are timed for nothing else.
"""

from collections.abc import Sequence
from statistics import median

from pydantic import BaseModel

from bench.records.store import Store
from bench.runs.measurement import Measurement
from bench.runs.phase import Phase
from bench.runs.plan import Plan
from bench.runs.session import Session
from samplers.time_limit import stop_in_time

PASSES = 5
"""Of a batch, of each cell."""


class Fraction(BaseModel):
    """Of one pass: its time outside network calls over its time inside, None where it made none."""

    value: float | None


class Overhead(Phase):
    """Fills `time.overhead_fraction`, in mode eager: compiled and captured passes cannot be taken apart."""

    name = "overhead"

    def wanted(self, plan: Plan) -> bool:
        return plan.mode == "eager" and plan.repetitions > 0

    def cost(self, m: Measurement, session: Session, store: Store) -> int:
        left = PASSES - len(store.scratch.rows(m.cell.id, self.name, Fraction))
        return m.card.calls(m.cell.steps) * session.plan.batch_size * max(left, 0)

    def run(self, cells: Sequence[Measurement], session: Session, store: Store) -> None:
        found = {m.cell.id: store.scratch.rows(m.cell.id, self.name, Fraction) for m in cells}
        for turn in range(PASSES):
            session.display.now(f"overhead, round {turn + 1} of {PASSES}")
            behind = [m for m in cells if m.error is None and len(found[m.cell.id]) <= turn]
            for m in behind:
                m.attempt(lambda m: self._measure(m, found[m.cell.id], session, store))
            if behind:
                stop_in_time()
        for m in cells:
            values = [f.value for f in found[m.cell.id] if f.value is not None]
            if m.error is None and values:
                m.tell("time", overhead_fraction=median(values))

    def _measure(self, m: Measurement, found: list[Fraction], session: Session, store: Store) -> None:
        made = session.executor.metered(m, range(session.plan.batch_size))
        found.append(Fraction(value=made.elapsed.seconds / made.inside - 1 if made.inside else None))
        store.scratch.append(m.cell.id, self.name, found[-1])
