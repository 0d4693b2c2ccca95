"""`bench recommend`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bench.commands.options import console, options_of
from bench.reports.budget import Budget


@options_of(Budget)
def recommend(
    given: dict[str, Any],
    runs: Annotated[list[Path], typer.Argument(help="folders that 'bench run' made; several are merged")],
) -> None:
    """Which sampler to use for a budget, how sure that is, and what would have to be measured to decide.

    Exit code 0, or 3 where the records cannot tell, or nothing fits; 2 for a mistake in what was asked.
    """
    from bench.commands.functions.measuring import recommend
    from bench.presentation import terminal

    document, decided = recommend(runs, **given)
    terminal.show(document, console)
    if not decided:
        raise typer.Exit(3)
