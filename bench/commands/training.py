"""`bench train`, and `bench campaign`: a study on rented machines."""

from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import Device, Quiet, Zoo, add_zoos, console

TRAINING = Path("training")
"""Where 'bench train' writes."""


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
    zoo: Zoo = None,
    quiet: Quiet = False,
) -> None:
    """Train by a recipe, or resume; ends with a card and its weights."""
    from bench.machine.device import resolve_device
    from bench.studies.stages import trainer_of
    from samplers.files import alone_in

    trainer = trainer_of(what)
    if zoo is None and TRAINING.is_dir():
        zoo = [TRAINING]  # a recipe's students learn from its teacher, trained before
    add_zoos(zoo)
    folder = out or TRAINING / f"{Path(recipe).stem}-{what}"
    with alone_in(folder):
        card = trainer.train(recipe, data, folder, device=resolve_device(device), quiet=quiet)
    console.print(f"card: {card}")


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
    from bench.machine.device import resolve_device
    from bench.studies.study import Campaign
    from samplers.files import alone_in

    folder = out or Path("runs") / f"campaign-{Path(recipe).stem}"
    work = Campaign(recipe, data, folder, resolve_device(device), export, quiet)
    with alone_in(folder):
        if home is not None:
            work.start_from(home)
        finished = work.run(seconds)
    after = "all is done" if finished else f"{work.next()} is next; the same command goes on"
    console.print(f"{len(work.done)} of {len(work.needs)} stages done; {after}. To take home: {work.export}")
