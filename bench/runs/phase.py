"""A phase of a measurement: one quantity, of all cells together or of one after another."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a fresh process that times its own start imports this
    from bench.records.store import Store
    from bench.runs.measurement import Measurement
    from bench.runs.plan import Plan
    from bench.runs.session import Session


class Phase:
    """Measures one quantity. What it found of a cell it tells its measurement, as a part of the record (`Measurement.tell`).

    One of one cell after another is a `measure`, one of all cells together a `run`; both resume from their own scratch.
    """

    name: str
    """Of its scratch, and of it in messages."""

    def wanted(self, plan: "Plan") -> bool:
        """Whether a plan asks for it."""
        return True

    def cost(self, m: "Measurement", session: "Session", store: "Store") -> int:
        """Network forwards that a cell will still take, about, for the progress bar."""
        return 0

    def run(self, cells: "Sequence[Measurement]", session: "Session", store: "Store") -> None:
        """Measure the cells, all that have not failed.

        Raises:
            TimeUpError: the time limit around it is over; what was measured is kept.
        """
        for m in session.display.each(cells, self.name) if len(cells) > 1 else cells:
            m.attempt(lambda m: self.measure(m, session, store))

    def measure(self, m: "Measurement", session: "Session", store: "Store") -> None:
        """Measure a cell; what goes wrong in its sampler may be raised as it is."""
        raise NotImplementedError
