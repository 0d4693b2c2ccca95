"""`bench verify`."""

from typing import Annotated

import typer

from bench.commands.options import Device, Plugins, Zoo, console


def verify(
    sampler: Annotated[str, typer.Argument(help="a sampler with its options, as heun or mine:eta=0.5", metavar="NAME")],
    teacher: Annotated[str, typer.Option(help="of a sampler with a student; solvers are checked on exact data")] = "mnist32",
    plugin: Plugins = None,
    device: Device = "cpu",
    seconds: Annotated[float, typer.Option(min=0.1, help="that a check may take")] = 60.0,
    zoo: Zoo = None,
) -> None:
    """Check that a sampler keeps the protocol: a table of what passes, and of what fails with reason and line.

    Exit code 0, or 1 where a check failed, 2 for a mistake in what was asked.
    """
    from rich.markup import escape
    from rich.table import Table

    from bench.commands.functions.plugins import verify

    found = verify(sampler, teacher, plugin=plugin or (), device=device, seconds=seconds, zoo=zoo or ())
    table = Table("check", "", "what was seen", "where to look", title=escape(sampler))
    marks = {True: "pass", False: "[red]FAIL[/red]", None: "-"}
    for f in found:
        table.add_row(f.check, marks[f.passed], escape(f.reason), escape(f.line))
    console.print(table)
    failed = [f.check for f in found if f.passed is False]
    console.print(f"{len(failed)} of {len(found)} checks failed: {', '.join(failed)}" if failed else "no check failed")
    if failed:
        raise typer.Exit(1)
