"""`bench train`, and `bench campaign`: a study on rented machines."""

from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import Device, Plugins, Quiet, Zoo, say


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
    plugin: Plugins = None,
    zoo: Zoo = None,
    quiet: Quiet = False,
) -> None:
    """Train by a recipe, or resume; ends with a card and its weights."""
    from bench.commands.functions.training import train

    say(f"card: {train(what, recipe, data=data, out=out, device=device, plugin=plugin or (), zoo=zoo, quiet=quiet)}")


def campaign(
    recipe: Annotated[str, typer.Option(help="a shipped recipe's name, or a YAML file, with a section campaign")],
    data: Annotated[Path, typer.Option(help="folder of the recipe's data files")] = Path("data"),
    out: Annotated[Path | None, typer.Option(help="folder of the work; default runs/campaign-RECIPE")] = None,
    seconds: Annotated[float, typer.Option("--slice", help="seconds to work before it stops")] = 480.0,
    home: Annotated[Path | None, typer.Option("--from", help="folder of the parts that came home; may be empty yet")] = None,
    export: Annotated[Path | None, typer.Option(help="folder for the parts that go home; default OUT/export")] = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """A whole study, train to profile, in slices of time on machines that may be taken away; call it until all is done."""
    from bench.commands.functions.training import campaign

    work = campaign(recipe, data=data, out=out, slice=seconds, home=home, export=export, device=device, quiet=quiet)
    after = f"{work.next()} is next; the same command goes on" if work.next() else "all is done"
    say(f"{len(work.done)} of {len(work.needs)} stages done; {after}. To take home: {work.export}")
