"""A plan becomes cells."""

import bisect
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import samplers
from bench.records.schema import Record
from bench.runs.plan import Plan
from samplers.errors import PluginError, UserError, foreign, package_at
from samplers.protocol import Card
from samplers.registry import MEND
from samplers.spec import Spec, file_name


@dataclass(frozen=True)
class Cell:
    """One (sampler, steps, batch size, precision, mode) of a plan."""

    sampler: str
    steps: int
    batch_size: int
    precision: str
    mode: str = "eager"

    @property
    def id(self) -> str:
        """A file name that tells the cell from all others."""
        return file_name(self.sampler, f"_n{self.steps}_b{self.batch_size}_{self.precision}_{self.mode}")

    @classmethod
    def of(cls, record: Record) -> "Cell":
        """The cell that a record is of, whatever cells were called when it was made."""
        return cls(record.sampler, record.steps, record.batch_size, record.precision, record.mode)


UNKNOWN = Card("unknown", "unknown", paper="", order=None)
"""Of a plug-in that cannot be used: a call a step, as most."""


def cells(plan: Plan) -> dict[Cell, str | None]:
    """The cells of a plan, each once, in the plan's order, and of those whose plug-in cannot be used why.

    Raises:
        UserError: an unknown sampler or option, or steps that a sampler cannot take.
    """
    found = _cells(plan, plan.texts)
    if not found:
        raise UserError("no sampler of the plan fits its budgets of calls; raise --calls or give --steps")
    return found


def tables_of(plan: Plan) -> dict[Cell, list[str]]:
    """The tables that cells of a plan stand in, by name; a cell that is in none is left out.

    Raises:
        UserError: as `cells`.
    """
    found: dict[Cell, list[str]] = {}
    for name, texts in plan.tables.items():
        for cell in _cells(plan, texts):
            found.setdefault(cell, []).append(name)
    return found


def most_steps(card: Card, calls: int) -> int:
    """The most steps of a sampler within a budget of calls, 0 if there are none; more steps are never fewer calls."""
    able = sorted(card.steps or ()) or range(1, calls + 1)
    fits = bisect.bisect_right(able, calls, key=card.calls)
    return able[fits - 1] if fits else 0


def _cells(plan: Plan, texts: Sequence[str]) -> dict[Cell, str | None]:
    """As `cells`, of some of a plan's samplers."""
    found: dict[Cell, str | None] = {}
    for spec, named in expand(plan, texts).items():
        why = None
        try:
            sampler = samplers.get(spec)
            with foreign(f"sampler '{spec.name}' does not say its calls", MEND, package_at(sampler)):
                steps = _steps(sampler.card, spec, plan, named)
                if wrong := [n for n in steps if not sampler.card.calls(n) > 0]:
                    raise ValueError(f"{sampler.card.calls(wrong[0])} calls for {wrong[0]} steps")
        except PluginError as e:
            why, steps = str(e), _steps(UNKNOWN, spec, plan, named)
        for n in sorted(set(steps)):
            found[Cell(str(spec.at(None)), n, plan.batch_size, plan.precision, plan.mode)] = why
    return found


def _steps(card: Card, spec: Spec, plan: Plan, named: bool) -> Sequence[int]:
    """The step counts of a sampler in a plan.

    Raises:
        UserError: one that it is asked for by name and cannot take.
    """
    if spec.steps or plan.steps:
        steps = (spec.steps,) if spec.steps else plan.steps
        wrong = [n for n in steps if card.steps is not None and n not in card.steps]
        if wrong and named:
            raise UserError(f"{card.name} cannot take {wrong[0]} steps; it takes {', '.join(map(str, card.steps or ()))}")
        return [n for n in steps if n not in wrong]  # "all" means those that can
    return [n for budget in plan.calls if (n := most_steps(card, budget))]


def expand(plan: Plan, texts: Sequence[str]) -> dict[Spec, bool]:
    """Samplers of a plan with "all" spelled out and its grid added to those that have one -> whether they are named.

    Raises:
        UserError: an unknown sampler, or text that is no spec.
    """
    found: dict[Spec, bool] = {}
    for text in texts:
        for spec in [Spec(n) for n in samplers.names()] if text == "all" else [Spec.parse(text)]:
            with suppress(UserError):  # told by `cells`
                if plan.grid is not None and "grid" not in dict(spec.options) and samplers.get(spec).card.grid is not None:
                    spec = spec.with_option("grid", plan.grid)
            found[spec] = found.get(spec, False) or text != "all"
    return found
