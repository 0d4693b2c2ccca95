"""Phase: energy of batches run back to back, where the device has a counter that can be read."""

from bench.machine.energy import energy_counter, energy_of
from bench.records.schema import Energy as Found
from bench.records.store import Store
from bench.runs.measurement import Measurement
from bench.runs.phase import Phase
from bench.runs.plan import Plan
from bench.runs.session import Session
from samplers.time_limit import stop_in_time


class Energy(Phase):
    """Fills the record's `energy`."""

    name = "energy"

    def wanted(self, plan: Plan) -> bool:
        return plan.repetitions > 0

    def measure(self, m: Measurement, session: Session, store: Store) -> None:
        kept = store.scratch.rows(m.cell.id, self.name, Found)
        counter = energy_counter(session.device)
        if not kept and counter is not None:
            size = session.plan.batch_size
            session.executor.ready(m, size)
            again = session.executor.again(m, size)
            again()
            if found := energy_of(again, size, counter):
                kept = [Found(**found)]
                store.scratch.append(m.cell.id, self.name, kept[0])
            stop_in_time()
        if kept:
            m.tell("energy", **kept[0].model_dump())
