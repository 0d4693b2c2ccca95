"""A plan becomes cells."""

from dataclasses import dataclass, field

import samplers
from bench.runs.plan import Plan
from samplers.errors import UserError
from samplers.spec import split


@dataclass(frozen=True)
class Cell:
    """One (sampler, steps, batch size, precision, mode) of a plan."""

    sampler: str
    steps: int
    batch_size: int
    precision: str
    mode: str = field(default="eager")

    @property
    def id(self) -> str:
        """A file name that tells the cell from the others of its run."""
        name = self.sampler.replace(":", "_").replace("=", "-").replace("/", "_")
        return f"{name}_n{self.steps}_b{self.batch_size}_{self.precision}_{self.mode}"


def cells(plan: Plan) -> list[Cell]:
    """The cells of a plan, each once, in the plan's order.

    Raises:
        UserError: an unknown sampler or option, or steps that a sampler cannot take.
    """
    found: dict[Cell, None] = {}
    for full in expand(plan):
        spec, own = split(full)
        card = samplers.get(spec).card
        if own or plan.steps:
            steps = (own,) if own else plan.steps
            wrong = [n for n in steps if card.steps is not None and n not in card.steps]
            if wrong and full in plan.samplers:
                raise UserError(f"{card.name} cannot take {wrong[0]} steps; it takes {', '.join(map(str, card.steps or ()))}")
            steps = tuple(n for n in steps if n not in wrong)  # "all" means those that can
        else:
            able = card.steps or range(1, max(plan.calls) + 1)
            steps = tuple(max(fit) for c in plan.calls if (fit := [n for n in able if card.calls(n) <= c]))
        for n in sorted(set(steps)):
            found[Cell(spec, n, plan.batch_size, plan.precision, plan.mode)] = None
    if not found:
        raise UserError("no sampler of the plan fits its budgets of calls; raise --calls or give --steps")
    return list(found)


def expand(plan: Plan) -> list[str]:
    """The plan's samplers with "all" spelled out and its grid added to those that have one."""
    specs = [s for spec in plan.samplers for s in (samplers.names() if spec == "all" else [spec])]
    if plan.grid is None:
        return specs

    def with_grid(spec: str) -> str:
        name, at, own = spec.partition("@")
        has = "grid=" not in name and samplers.get(name).card.grid is not None
        return f"{name}:grid={plan.grid}{at}{own}" if has else spec

    return [with_grid(s) for s in specs]
