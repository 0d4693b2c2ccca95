"""`bench compare` and `bench gate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bench.commands.options import Markdown, Quiet, console, errors, listed, options_of
from bench.comparison.settings import ComparisonSettings

Sides = "a git revision, the folder of a run, or a JSON file of pytest-benchmark"
Other = Annotated[str, typer.Argument(help="another of the kind; 'working tree' for the files as they are")]


@options_of(ComparisonSettings)
def compare(
    given: dict[str, Any],
    a: Annotated[str, typer.Argument(help=Sides)],
    b: Other = "working tree",
    out: Annotated[Path, typer.Option(help="folder of comparison.json; of runs, of a page, too")] = Path("runs/comparison"),
    markdown: Markdown = False,
    quiet: Quiet = False,
) -> None:
    """Two revisions, runs or speed results side by side: work, images, quality and time, with a verdict a row."""
    from bench.commands.functions.judging import compare
    from bench.presentation import terminal

    outcome = compare(a, b, out=out, quiet=quiet, **given)
    terminal.show(outcome.document(), console, as_markdown=markdown)
    page = out / "comparison.html"
    errors.print(f"all of it: {page if 'runs' in outcome.data else out / 'comparison.json'}", soft_wrap=True)


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
    markdown: Markdown = False,
    quiet: Quiet = False,
) -> None:
    """Fail on a regression: exit code 0 pass, 1 regression, 3 ambiguous or not comparable, 2 misuse."""
    from bench.commands.functions.judging import gate
    from bench.presentation import terminal

    judged = () if judge is None else listed("judge", judge)
    found = gate(a, b, judge=judged, update=update, stored=stored, action=action, out=out, quiet=quiet, **given)
    if isinstance(found, Path):
        errors.print(f"stored: {found}", soft_wrap=True)
        return
    terminal.show(found.document(), console, as_markdown=markdown)
    raise typer.Exit(found.code)
