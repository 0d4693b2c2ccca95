"""`bench compare` and `bench gate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bench.commands.options import errors, flags, listed, options_of
from bench.comparison.settings import ComparisonSettings
from samplers.errors import UserError

Sides = "a git revision, the folder of a run, or a JSON file of pytest-benchmark"
Other = Annotated[str, typer.Argument(help="another of the kind; 'working tree' for the files as they are")]


@options_of(ComparisonSettings)
def compare(
    given: dict[str, Any],
    a: Annotated[str, typer.Argument(help=Sides)],
    b: Other = "working tree",
    out: Annotated[Path, typer.Option(help="folder of comparison.json")] = Path("runs/comparison"),
) -> None:
    """Two revisions, runs or speed results side by side: work, images, quality and time, with a verdict a row."""
    from bench.comparison.compare import compare
    from bench.comparison.verdicts import verdict_table

    settings = ComparisonSettings(**given)
    with errors.status("comparing", spinner="dots") as status:
        advance = lambda what: status.update(f"comparing: {what}")  # noqa: E731
        outcome = compare(a, b, settings, out, advance, _of_revisions(given))
    print(verdict_table(outcome.rows, outcome.names))
    errors.print(f"all of it: {out / 'comparison.json'}")


@options_of(ComparisonSettings)
def gate(
    given: dict[str, Any],
    a: Annotated[str | None, typer.Argument(help=f"what was good: {Sides}; none: the stored counts")] = None,
    b: Other = "working tree",
    judge: Annotated[
        str | None, typer.Option(help="quantities that decide, comma-separated, as time,images; default: all")
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="store the counts of the committed source as good")] = False,
    stored: Annotated[Path | None, typer.Option(help="file of stored counts; default results/gate/counts.json")] = None,
    action: Annotated[
        Path | None, typer.Option(help="only write the speed results A here, for github-action-benchmark")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder of comparison.json")] = Path("runs/gate"),
) -> None:
    """Fail on a regression: exit code 0 pass, 1 regression, 3 ambiguous or not comparable, 2 misuse."""
    from bench.comparison.gate import decide, update_counts
    from bench.comparison.pytest_benchmark import write_action

    settings = ComparisonSettings(**given)
    if a is not None and (update or stored is not None):
        raise UserError(f"--update and --stored are of the stored counts; leave out {a}")
    if action is not None:
        write_action(Path(a or ""), action)
        return
    judged = () if judge is None else listed("judge", judge)
    with errors.status("gate", spinner="dots") as status:
        advance = lambda what: status.update(f"gate: {what}")  # noqa: E731
        if update:
            errors.print(f"stored: {update_counts(stored, given.get('device', 'cpu'), advance)}")
            return
        verdict = decide(a, b, settings, judged, stored, out, advance, _of_revisions(given))
    print(verdict.text)
    raise typer.Exit(verdict.code)


def _of_revisions(given: dict[str, Any]) -> list[str]:
    """The flags given that only a comparison of revisions has a use for."""
    return flags({k: v for k, v in given.items() if k != "effect"})
