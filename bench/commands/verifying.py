"""`bench verify`."""

from typing import Annotated

import typer

from bench.commands.options import Device, Markdown, Plugins, Zoo, console, say


def verify(
    sampler: Annotated[str, typer.Argument(help="a sampler with its options, as heun or mine:eta=0.5", metavar="NAME")],
    teacher: Annotated[str, typer.Option(help="of a sampler with a student; solvers are checked on exact data")] = "mnist32",
    plugin: Plugins = None,
    device: Device = "cpu",
    seconds: Annotated[float, typer.Option(min=0.1, help="that a check may take")] = 60.0,
    zoo: Zoo = None,
    markdown: Markdown = False,
) -> None:
    """Check that a sampler keeps the protocol: a table of what passes, and of what fails with reason and line.

    Exit code 0, or 1 where a check failed, 2 for a mistake in what was asked.
    """
    from bench.commands.functions.plugins import verify
    from bench.presentation import terminal
    from bench.presentation.document import Cell, Table, cell

    found = verify(sampler, teacher, plugin=plugin or (), device=device, seconds=seconds, zoo=zoo or ())
    marks = {True: Cell("pass"), False: Cell("FAIL", mark="heed"), None: Cell("-")}
    rows = [[cell(f.check), marks[f.passed], cell(f.reason), cell(f.line)] for f in found]
    terminal.show(
        [Table(["check", "", "what was seen", "where to look"], rows, caption=sampler)], console, as_markdown=markdown
    )
    failed = [f.check for f in found if f.passed is False]
    say(f"\n{len(failed)} of {len(found)} checks failed: {', '.join(failed)}" if failed else "\nno check failed")
    if failed:
        raise typer.Exit(1)
