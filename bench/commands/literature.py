"""`bench literature`."""

from typing import Annotated

import typer

from bench.commands.options import Markdown, console


def literature(
    dataset: Annotated[str, typer.Option(help="cifar10 or imagenet64")] = "cifar10",
    calls: Annotated[int | None, typer.Option(help="only results of so many network evaluations")] = None,
    group: Annotated[str | None, typer.Option(help="only one comparable group, A to I")] = None,
    markdown: Markdown = False,
) -> None:
    """Published FIDs with their sources, a table for each group of results that may be compared."""
    from bench.commands.functions.measuring import literature
    from bench.presentation import terminal

    terminal.show(literature(dataset, calls, group), console, as_markdown=markdown)
