"""The harness: plan, measure, score, store, report. `bench.run(samplers=["ddim"])` is `bench run --samplers ddim`."""

import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.plan import Plan, coerce, find_plan, load_plan
from samplers.errors import UserError, unknown

if TYPE_CHECKING:
    import pandas as pd


def make_plan(file: str | Path | None = None, **options: Any) -> Plan:
    """A plan from a YAML file's keys (or those of a shipped plan), if one is given, and `options` (fields of `Plan`) over them.

    Raises:
        UserError: an unknown field, a value of the wrong type, or one out of range.
    """
    kinds = typing.get_type_hints(Plan)
    values = load_plan(find_plan(file)) if file is not None else {}
    for key, value in options.items():
        if key not in kinds:
            raise unknown("argument", key, kinds)
        try:
            values[key] = coerce(value, kinds[key])
        except ValueError as e:
            raise UserError(f"{key} {e}") from e
    return Plan(**values)


def folder_of(plan: Plan, out: str | Path | None = None) -> Path:
    """The folder of a plan's run: `out`, or runs/RUN_ID."""
    return Path(out) if out is not None else Path("runs") / plan.run_id()


def run_plan(plan: Plan, folder: Path, *, quiet: bool = False) -> list[dict[str, Any]]:
    """Measure what `folder` does not hold yet of a plan, and return all its records.

    Raises:
        UserError: anything asked for that cannot be, or another process at work in the folder.
    """
    from bench.runner import Runner
    from samplers.alone import alone_in

    with alone_in(folder):
        runner = Runner(plan, folder, quiet=quiet)
        runner.run()
        return runner.store.records()


def run(
    *, out: str | Path | None = None, plan: str | Path | None = None, quiet: bool = False, **options: Any
) -> "pd.DataFrame":
    """Measure a plan and return its records, one row a cell.

    Args:
        out: the run's folder; runs/RUN_ID where None. A folder with part of this plan is gone on with.
        plan: a YAML file with fields of `bench.plan.Plan`, or the name of one that ships.
        quiet: no progress bar.
        **options: fields of `Plan`, over those of the file.

    Raises:
        samplers.UserError: anything asked for that cannot be.
    """
    from bench.report import load_records

    full = make_plan(plan, **options)
    folder = folder_of(full, out)
    run_plan(full, folder, quiet=quiet)
    return load_records([folder])


__all__ = ["Plan", "UserError", "folder_of", "make_plan", "run", "run_plan"]
