"""`bench compare` and `bench gate`."""

from pathlib import Path
from typing import Annotated

import typer

from bench.commands import Device, errors, listed

Sides = "a git revision, the folder of a run, or a JSON file of pytest-benchmark"
Effect = Annotated[float, typer.Option(help="relative slowdown (or loss of quality) that must be found")]
Budget = Annotated[float, typer.Option(help="seconds for everything, where revisions are timed")]
Passes = Annotated[int, typer.Option(help="budget of network calls of a pass")]
Comparison = Annotated[Path, typer.Option(help="folder of comparison.json")]


def compare(
    a: Annotated[str, typer.Argument(help=Sides)],
    b: Annotated[str, typer.Argument(help="another of the kind; 'working tree' for the files as they are")] = "working tree",
    samplers: Annotated[str, typer.Option(help="comma-separated; all: those of either side")] = "all",
    calls: Passes = 6,
    teacher: Annotated[str, typer.Option(help="name in the first side's zoo, or path of a card (.json)")] = "mnist32",
    effect: Effect = 0.05,
    budget: Budget = 180.0,
    threads: Annotated[int, typer.Option(help="CPU threads; one is the quietest")] = 1,
    device: Device = "auto",
    timed: Annotated[bool, typer.Option("--time/--no-time", help="time revisions too, or only count")] = True,
    out: Comparison = Path("runs/comparison"),
) -> None:
    """Two revisions, runs or speed results side by side: work, images, quality and time, with a verdict a row."""
    from bench.compare_revisions import Terms
    from bench.comparison import compare
    from bench.verdicts import table

    terms = Terms(tuple(listed(samplers) or ()), calls, teacher, effect, budget, threads, device, timed)
    with errors.status("comparing", spinner="dots") as status:
        outcome = compare(a, b, terms, out, lambda what: status.update(f"comparing: {what}"))
    print(table(outcome.rows, outcome.names))
    errors.print(f"all of it: {out / 'comparison.json'}")


def gate(
    a: Annotated[str | None, typer.Argument(help=f"what was good: {Sides}; none: the stored counts")] = None,
    b: Annotated[str, typer.Argument(help="what to judge, of the same kind")] = "working tree",
    judge: Annotated[
        str | None, typer.Option(help="quantities that decide, comma-separated, as time,images; default: all")
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="store the counts of the committed source as good")] = False,
    samplers: Annotated[str, typer.Option(help="comma-separated; all: those of either side")] = "all",
    calls: Passes = 6,
    effect: Effect = 0.05,
    budget: Budget = 180.0,
    device: Device = "auto",
    timed: Annotated[bool, typer.Option("--time/--no-time", help="time revisions too, or only count")] = True,
    stored: Annotated[Path | None, typer.Option(help="file of stored counts; default results/gate/counts.json")] = None,
    action: Annotated[Path | None, typer.Option(help="write B's speed results for github-action-benchmark here")] = None,
    out: Comparison = Path("runs/gate"),
) -> None:
    """Fail on a regression: exit code 0 pass, 1 regression, 3 ambiguous or not comparable, 2 misuse."""
    from bench.compare_revisions import Terms
    from bench.gate import decide, update_counts
    from bench.speed_file import write_action

    with errors.status("gate", spinner="dots") as status:
        advance = lambda what: status.update(f"gate: {what}")  # noqa: E731
        if update:
            errors.print(f"stored: {update_counts(stored, device, advance)}")
            return
        if action is not None:
            write_action(Path(b), action)
        terms = Terms(tuple(listed(samplers) or ()), calls, effect=effect, budget=budget, device=device, timed=timed)
        verdict = decide(a, b, terms, tuple(listed(judge) or ()), stored, out, advance)
    print(verdict.text)
    raise typer.Exit(verdict.code)
