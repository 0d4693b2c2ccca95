"""A phase of a measurement: one quantity, of all cells together or of one after another."""

from collections.abc import Sequence
from typing import Protocol

from bench.records.store import Store
from bench.runs.measurement import Measurement
from bench.runs.plan import Plan
from bench.runs.session import Session


class Phase(Protocol):
    """Measures one quantity. What it found of a cell it tells its measurement, as a part of the record (`Measurement.tell`)."""

    name: str
    """Of its scratch, and of it in messages."""

    def wanted(self, plan: Plan) -> bool:
        """Whether a plan asks for it."""
        ...

    def cost(self, m: Measurement, session: Session, store: Store) -> int:
        """Network forwards that a cell will still take, about, for the progress bar."""
        ...

    def run(self, cells: Sequence[Measurement], session: Session, store: Store) -> None:
        """Measure the cells, all that have not failed; resumes from its own scratch.

        Raises:
            TimeUpError: the time limit around it is over; what was measured is kept.
        """
        ...
