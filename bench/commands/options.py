"""The commands of the command line: each parses its flags and calls the Python function that does the work."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from samplers.errors import UserError

console = Console()
errors = Console(stderr=True)
"""For what is not the result, so that a table can be piped."""
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
Teacher = Annotated[str, typer.Option(help="name in the zoo, or path of a card (.json)")]
Zoo = Annotated[list[Path] | None, typer.Option(help="folder of trainings whose cards count as shipped; repeatable")]
Quiet = Annotated[bool, typer.Option("--quiet", help="no progress bar")]


def listed(text: str | None, kind: type = str) -> list | None:
    """A comma-separated flag as a list.

    Raises:
        UserError: an item of another kind.
    """
    if text is None:
        return None
    try:
        return [kind(item.strip()) for item in text.split(",") if item.strip()]
    except ValueError as e:
        raise UserError(f"'{text}' is not a comma-separated list of whole numbers") from e


def add_zoos(folders: list[Path] | None) -> None:
    """Make the cards in `folders` known."""
    from samplers.models.zoo import add_zoo

    for folder in folders or ():
        add_zoo(folder)
