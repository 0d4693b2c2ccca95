"""`bench convert`."""

from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import say


def convert(
    checkpoint: Annotated[str, typer.Argument(help="edm:FILE.pkl, adm:FILE.pt or cm:FILE.pt", metavar="IN")],
    out: Annotated[Path, typer.Argument(help="the card, NAME.json; its weights are put beside it, NAME.safetensors")],
) -> None:
    """Write a checkpoint of EDM, EDM2, guided-diffusion or consistency_models as safetensors with a card."""
    from bench.commands.functions.training import convert

    say(f"card: {convert(checkpoint, out)}")
