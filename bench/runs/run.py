"""A plan measured into a folder: what `bench run` does, as functions."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.runs.plan import Plan, make_plan

if TYPE_CHECKING:
    import pandas as pd


def folder_of(plan: Plan, out: str | Path | None = None) -> Path:
    """The folder of a plan's run: `out`, or runs/RUN_ID."""
    return Path(out) if out is not None else Path("runs") / plan.run_id()


def run_plan(plan: Plan, folder: Path, *, quiet: bool = False) -> list[dict[str, Any]]:
    """Measure what `folder` does not hold yet of a plan, and return all its records.

    Raises:
        UserError: anything asked for that cannot be, or another process at work in the folder.
    """
    from bench.runs.runner import Runner
    from samplers.files import alone_in

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
        plan: a YAML file with fields of `bench.runs.plan.Plan`, or the name of one that ships.
        quiet: no progress bar.
        **options: fields of `Plan`, over those of the file.

    Raises:
        samplers.UserError: anything asked for that cannot be.
    """
    from bench.records.frame import load_records

    full = make_plan(plan, **options)
    folder = folder_of(full, out)
    run_plan(full, folder, quiet=quiet)
    return load_records([folder])
