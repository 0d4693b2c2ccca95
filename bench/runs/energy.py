"""Phase: energy of batches run back to back, where the device has a counter that can be read."""

from collections.abc import Sequence

from bench.machine.energy import CpuEnergy, GpuEnergy, energy_counter, energy_of
from bench.records.schema import Energy as Found
from bench.records.store import Store
from bench.runs.measurement import Measurement
from bench.runs.plan import Plan
from bench.runs.session import Session
from samplers.time_limit import stop_in_time


class Energy:
    """Fills the record's `energy`."""

    name = "energy"

    def wanted(self, plan: Plan) -> bool:
        return True

    def cost(self, m: Measurement, session: Session, store: Store) -> int:
        return 0  # by the clock, not by forwards

    def run(self, cells: Sequence[Measurement], session: Session, store: Store) -> None:
        counter = energy_counter(session.device)
        for m in cells if counter is not None else ():
            kept = store.scratch.rows(m.cell.id, self.name, Found)
            if kept:
                m.tell("energy", **kept[0].model_dump())
                continue
            m.attempt(lambda m: self._measure(m, counter, session, store))
            stop_in_time()

    def _measure(self, m: Measurement, counter: CpuEnergy | GpuEnergy | None, session: Session, store: Store) -> None:
        size = session.plan.batch_size
        session.executor.ready(m, size)
        again = session.executor.again(m, size)
        again()
        found = energy_of(again, size, counter)
        if found is not None:
            m.tell("energy", **found)
            store.scratch.append(m.cell.id, self.name, Found(**found))
