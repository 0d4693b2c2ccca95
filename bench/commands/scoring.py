"""`bench score`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bench.commands.options import Markdown, Quiet, Zoo, console, options_of
from bench.quality.settings import ScoreSettings


@options_of(ScoreSettings)
def score(
    given: dict[str, Any],
    images: Annotated[str, typer.Argument(help="a folder, zip or npz of images, or cifar10-test and the like")],
    out: Annotated[Path | None, typer.Option(help="file that gets the scores, as JSON")] = None,
    zoo: Zoo = None,
    markdown: Markdown = False,
    quiet: Quiet = False,
) -> None:
    """Score images that were made elsewhere, by the code that scores a run's."""
    from bench.commands.functions.scoring import page, score
    from bench.presentation import terminal

    found = score(images, out=out, zoo=zoo or (), quiet=quiet, **given)
    terminal.show(page(found), console, as_markdown=markdown)
