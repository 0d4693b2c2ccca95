"""`bench compare` and `bench gate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bench.commands.options import errors, listed
from samplers.errors import UserError

Sides = "a git revision, the folder of a run, or a JSON file of pytest-benchmark"
Other = Annotated[str, typer.Argument(help="another of the kind; 'working tree' for the files as they are")]
Effect = Annotated[float, typer.Option(help="relative slowdown (or loss of quality) that must be found")]
# Of revisions only: None where not given.
Samplers = Annotated[str | None, typer.Option(help="comma-separated; all: those of either side (default)")]
Passes = Annotated[int | None, typer.Option(help="budget of network calls of a pass (default 6)")]
Teacher = Annotated[str | None, typer.Option(help="name in the first side's zoo (default mnist32), or path of a card (.json)")]
Budget = Annotated[float | None, typer.Option(help="seconds for everything (default 180)")]
Threads = Annotated[int | None, typer.Option(help="CPU threads (default 1, the quietest)")]
Where = Annotated[str | None, typer.Option(help="auto (default), cpu, cuda or cuda:N")]
Timed = Annotated[bool | None, typer.Option("--time/--no-time", help="time too (default), or only count")]


def compare(
    a: Annotated[str, typer.Argument(help=Sides)],
    b: Other = "working tree",
    effect: Effect = 0.05,
    samplers: Samplers = None,
    calls: Passes = None,
    teacher: Teacher = None,
    budget: Budget = None,
    threads: Threads = None,
    device: Where = None,
    timed: Timed = None,
    out: Annotated[Path, typer.Option(help="folder of comparison.json")] = Path("runs/comparison"),
) -> None:
    """Two revisions, runs or speed results side by side: work, images, quality and time, with a verdict a row."""
    from bench.comparison.compare import compare
    from bench.comparison.revisions import Terms
    from bench.comparison.verdicts import table

    given = _given(samplers, calls, teacher, budget, threads, device, timed)
    with errors.status("comparing", spinner="dots") as status:
        advance = lambda what: status.update(f"comparing: {what}")  # noqa: E731
        outcome = compare(a, b, Terms(effect=effect, **given), out, advance, _flags(given))
    print(table(outcome.rows, outcome.names))
    errors.print(f"all of it: {out / 'comparison.json'}")


def gate(
    a: Annotated[str | None, typer.Argument(help=f"what was good: {Sides}; none: the stored counts")] = None,
    b: Other = "working tree",
    judge: Annotated[
        str | None, typer.Option(help="quantities that decide, comma-separated, as time,images; default: all")
    ] = None,
    effect: Effect = 0.05,
    samplers: Samplers = None,
    calls: Passes = None,
    teacher: Teacher = None,
    budget: Budget = None,
    threads: Threads = None,
    device: Where = None,
    timed: Timed = None,
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
    from bench.comparison.revisions import Terms

    given = _given(samplers, calls, teacher, budget, threads, device, timed)
    if a is not None and (update or stored is not None):
        raise UserError(f"--update and --stored are of the stored counts; leave out {a}")
    if action is not None:
        write_action(Path(a or ""), action)
        return
    with errors.status("gate", spinner="dots") as status:
        advance = lambda what: status.update(f"gate: {what}")  # noqa: E731
        if update:
            errors.print(f"stored: {update_counts(stored, device or 'cpu', advance)}")
            return
        terms = Terms(effect=effect, **given)
        verdict = decide(a, b, terms, tuple(listed(judge) or ()), stored, out, advance, _flags(given))
    print(verdict.text)
    raise typer.Exit(verdict.code)


def _given(
    samplers: str | None,
    calls: int | None,
    teacher: str | None,
    budget: float | None,
    threads: int | None,
    device: str | None,
    timed: bool | None,
) -> dict[str, Any]:
    """The fields of `Terms` that were asked for."""
    asked = None if samplers is None else tuple(listed(samplers) or ())
    fields = {"samplers": asked, "calls": calls, "teacher": teacher, "budget": budget, "threads": threads}
    return {k: v for k, v in {**fields, "device": device, "timed": timed}.items() if v is not None}


def _flags(given: dict[str, Any]) -> list[str]:
    names = {"timed": "--time" if given.get("timed") else "--no-time"}
    return [names.get(k, f"--{k}") for k in given]
