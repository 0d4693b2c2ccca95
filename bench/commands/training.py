"""`bench train`."""

from pathlib import Path
from typing import Annotated

import typer

from bench.commands import Device, Quiet, console


def train(
    what: Annotated[str, typer.Argument(help="teacher, extractor, or what a plug-in adds")],
    recipe: Annotated[str, typer.Option(help="a shipped recipe's name, or a YAML file")] = "mnist32",
    data: Annotated[
        Path | None, typer.Option(help="folder of what it learns from; default data, for dsno training/RECIPE-trajectories")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for checkpoint, log, card and weights; default training/RECIPE-WHAT")
    ] = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Train by a recipe, or resume; ends with a card and its weights."""
    from importlib.metadata import entry_points

    from bench.environment import resolve_device
    from samplers.errors import unknown

    trainers = {e.name: e for e in entry_points(group="bench.trainers")}
    if what not in trainers:
        raise unknown("thing to train", what, trainers)
    folder = out or Path("training") / f"{Path(recipe).stem}-{what}"
    card = trainers[what].load()(recipe, data, folder, device=resolve_device(device), quiet=quiet)
    console.print(f"card: {card}")
