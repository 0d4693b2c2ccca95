"""`bench.compare` and `bench.gate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.commands.functions.arguments import File, name_of
from bench.commands.options import flags
from samplers.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from bench.comparison.gate import Decision
    from bench.comparison.verdicts import Outcome


def compare(
    a: "File | pd.DataFrame",
    b: "File | pd.DataFrame" = "working tree",
    *,
    out: File = "runs/comparison",
    quiet: bool = False,
    **options: Any,
) -> "Outcome":
    """Two revisions, runs or speed results side by side; returns a row for each quantity of each cell, with its verdict.

    Args:
        a: a git revision, a run, or a JSON file of pytest-benchmark.
        b: another of the kind; "working tree" for the files as they are.
        out: folder of `comparison.json`.
        quiet: no progress.
        **options: fields of `bench.comparison.settings.ComparisonSettings`.

    Raises:
        samplers.UserError: what `bench.comparison.compare.compare` refuses.
    """
    from bench.comparison.compare import compare
    from bench.comparison.settings import ComparisonSettings
    from bench.runs.progress import Display

    settings = ComparisonSettings(**options)
    with Display(quiet, transient=True) as display:
        return compare(name_of(a), name_of(b), settings, Path(out), display.now, _of_revisions(options))


def gate(
    a: "File | pd.DataFrame | None" = None,
    b: "File | pd.DataFrame" = "working tree",
    *,
    judge: str | Sequence[str] = (),
    update: bool = False,
    stored: File | None = None,
    action: File | None = None,
    out: File = "runs/gate",
    quiet: bool = False,
    **options: Any,
) -> "Decision | Path":
    """Whether B may replace A: a decision with its exit code (0 pass, 1 regression, 3 undecided), and what was compared.

    Args:
        a: what was good, as of `compare`; None for the stored counts.
        b: as of `compare`.
        judge: quantities that decide; all where empty.
        update: store the counts of the committed source as good, and return their file.
        stored: file of stored counts; results/gate/counts.json where None.
        action: only write the speed results A here, for github-action-benchmark, and return this path.
        out: folder of `comparison.json`.
        quiet: no progress.
        **options: fields of `bench.comparison.settings.ComparisonSettings`.

    Raises:
        samplers.UserError: what `bench.comparison.gate.decide` refuses.
    """
    from bench.comparison.gate import decide, update_counts
    from bench.comparison.pytest_benchmark import write_action
    from bench.comparison.settings import ComparisonSettings
    from bench.runs.progress import Display

    settings = ComparisonSettings(**options)
    counts = None if stored is None else Path(stored)
    if a is not None and (update or stored is not None):
        raise UserError(f"--update and --stored are of the stored counts; leave out {name_of(a)}")
    if action is not None:
        write_action(Path("" if a is None else name_of(a)), Path(action))
        return Path(action)
    judged = (judge,) if isinstance(judge, str) else tuple(judge)
    with Display(quiet, transient=True) as display:
        if update:
            return update_counts(counts, options.get("device", "cpu"), display.now)
        good = None if a is None else name_of(a)
        return decide(good, name_of(b), settings, judged, counts, Path(out), display.now, _of_revisions(options))


def _of_revisions(given: dict[str, Any]) -> list[str]:
    """The flags given that only a comparison of revisions has a use for."""
    return flags({k: v for k, v in given.items() if k != "effect"})
