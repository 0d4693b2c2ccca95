"""`bench.report`, `recommend`, `literature`, `tune` and `profile`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.commands.functions.arguments import File, Files, folders_of
from bench.commands.options import add_zoos

if TYPE_CHECKING:
    import pandas as pd

    from bench.presentation.document import Document
    from bench.runs.plan import Plan


def report(
    runs: "Files | pd.DataFrame", out: File | None = None, *, literature: str | None = None, paper: bool = False
) -> Path:
    """Tables and figures again, from the records of one or several runs alone; returns the page's path.

    Args:
        runs: folders, or the records that `bench.run` returned.
        out: folder; `report/` in the first run where None.
        literature: data set whose published results are drawn, too: cifar10 or imagenet64.
        paper: write `paper/` there, too: the figures as SVG and PDF, the tables as LaTeX and CSV.

    Raises:
        samplers.UserError: a folder without records, records that cannot be shown together, or no such data set.
    """
    from bench.reports.report import write_report

    return write_report(folders_of(runs), None if out is None else Path(out), literature, paper)


def recommend(runs: "Files | pd.DataFrame", **budget: Any) -> "tuple[Document, bool]":
    """Which sampler to use for a budget, and how sure that is: a document to read, and whether the records decide.

    Args:
        runs: folders, or the records that `bench.run` returned.
        **budget: fields of `bench.reports.budget.Budget`.

    Raises:
        samplers.UserError: a folder without records, or no such budget.
    """
    from bench.records.frame import load_records
    from bench.reports.advice_text import recommendation
    from bench.reports.budget import Budget

    return recommendation(load_records(folders_of(runs)), Budget(**budget))


def literature(dataset: str = "cifar10", calls: int | None = None, group: str | None = None) -> "Document":
    """Published FIDs with their sources: a document with a table for each group of results that may be compared.

    Args:
        dataset: cifar10 or imagenet64.
        calls: only results of so many network evaluations.
        group: only one comparable group, A to I.

    Raises:
        samplers.UserError: no such data set or group, or no such result.
    """
    from bench.publications.published import listing

    return listing(dataset, calls, group)


def tune(plan: "Plan | File", out: File, *, zoo: Files = (), quiet: bool = False, **options: Any) -> Path:
    """Choose each sampler's grid, end and last step on noises of their own; returns the path of `tuned.yaml`.

    Args:
        plan: the study's, whose teacher, labels and metrics are used.
        out: folder of the run of all candidates.
        zoo: folders of trainings whose cards count as shipped.
        quiet: no progress.
        **options: fields of `bench.runs.tuning_settings.TuningSettings`.

    Raises:
        samplers.UserError: what `bench.runs.tuning.tune` refuses.
    """
    from bench.runs.plan import Plan, read_plan
    from bench.runs.tuning import tune
    from bench.runs.tuning_settings import TuningSettings

    add_zoos(zoo)
    study = plan if isinstance(plan, Plan) else read_plan(plan)
    return tune(TuningSettings(**options), study, Path(out), quiet=quiet)


def profile(
    sampler: Any = "dsno",
    *,
    device: str = "auto",
    zoo: Files = (),
    trace: bool = False,
    out: File | None = None,
    quiet: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Where one pass of a trained sampler spends its time; returns what `profile.json` in the folder holds.

    Args:
        sampler: a spec, as "dsno:form=fft", or an object.
        device: auto, cpu, cuda or cuda:N.
        zoo: folders of trainings whose cards count as shipped.
        trace: write a Chrome trace of one pass too.
        out: folder; `profile_folder` where None.
        quiet: no progress.
        **options: fields of `bench.profiling.settings.ProfileSettings`; the teacher may be an object.

    Raises:
        samplers.UserError: a sampler without stages, a mode or device that is not there, or a batch beyond the memory.
    """
    from bench.machine.device import resolve_device
    from bench.profiling.page import write_profile
    from bench.profiling.profiler import Profiler
    from bench.profiling.settings import ProfileSettings
    from bench.runs.objects import named
    from bench.runs.progress import Display

    add_zoos(zoo)
    with named({**options, "sampler": sampler}) as told, Display(quiet, transient=True) as display:
        settings = ProfileSettings(**told)
        profiler = Profiler(settings, resolve_device(device), display)
        folder = profile_folder(settings.sampler, settings.mode, out)
        result = profiler.measure()
        write_profile(result, folder)
        if trace:
            profiler.trace(folder / "trace.json", settings.batch_sizes[-1])
    return result


def profile_folder(sampler: str, mode: str, out: File | None) -> Path:
    """The folder of a profile: `out`, or runs/profile-SAMPLER-MODE."""
    from samplers.spec import Spec

    return Path(out) if out is not None else Path("runs") / f"profile-{Spec.parse(sampler).file_name}-{mode}"
