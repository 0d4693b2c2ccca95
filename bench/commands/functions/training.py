"""`bench.train`, `convert` and `campaign`."""

from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands.functions.arguments import File, Files
from bench.commands.options import add_plugins, add_zoos

if TYPE_CHECKING:
    from bench.studies.study import Campaign

TRAINING = Path("training")
"""Where `train` writes."""


def train(
    what: str,
    recipe: File = "mnist32",
    *,
    data: File | None = None,
    out: File | None = None,
    device: str = "auto",
    plugin: Files = (),
    zoo: Files | None = None,
    quiet: bool = False,
) -> Path:
    """Train by a recipe, or resume; returns the path of the card.

    Args:
        what: teacher, extractor, or what a plug-in adds.
        recipe: a shipped one's name, or a YAML file.
        data: folder of what it learns from.
        out: folder; training/RECIPE-WHAT where None.
        device: auto, cpu, cuda or cuda:N.
        plugin: files of students and their trainers to use without installing them.
        zoo: folders of trainings whose cards count as shipped; `training` where None, if it is there.
        quiet: no progress.

    Raises:
        samplers.UserError: an unknown trainer or recipe, or data that is not there.
    """
    from bench.machine.device import resolve_device
    from bench.studies.stages import trainer_of
    from samplers.files import alone_in

    add_plugins(plugin)
    trainer = trainer_of(what)
    add_zoos(zoo if zoo is not None else [TRAINING] if TRAINING.is_dir() else ())  # its students learn from its teacher
    folder = TRAINING / f"{Path(recipe).stem}-{what}" if out is None else Path(out)
    with alone_in(folder):
        found = None if data is None else Path(data)
        return trainer.train(str(recipe), found, folder, device=resolve_device(device), quiet=quiet)


def convert(checkpoint: str, out: File) -> Path:
    """Write a checkpoint of EDM, EDM2, guided-diffusion or consistency_models as safetensors; returns the card's path.

    Raises:
        samplers.UserError: no such file, or one that holds what is not known.
    """
    from samplers.models.foreign.convert import convert

    return convert(checkpoint, Path(out))


def campaign(
    recipe: File,
    *,
    data: File = "data",
    out: File | None = None,
    slice: float = 480.0,
    home: File | None = None,
    export: File | None = None,
    device: str = "auto",
    quiet: bool = False,
) -> "Campaign":
    """A slice of a whole study, train to profile; returns its work, whose `done` are the stages and whose `next()` is to come.

    Args:
        recipe: a shipped one's name, or a YAML file, with a section `campaign`.
        data: folder of the recipe's data files.
        out: folder of the work; runs/campaign-RECIPE where None.
        slice: seconds to work before it stops.
        home: folder of the parts that came home (`--from`); may be empty yet.
        export: folder for the parts that go home; OUT/export where None.
        device: auto, cpu, cuda or cuda:N.
        quiet: no progress.

    Raises:
        samplers.UserError: what `bench.studies.study.Campaign` refuses.
    """
    from bench.machine.device import resolve_device
    from bench.studies.study import Campaign
    from samplers.files import alone_in

    folder = Path("runs") / f"campaign-{Path(recipe).stem}" if out is None else Path(out)
    there = None if export is None else Path(export)
    work = Campaign(recipe, Path(data), folder, resolve_device(device), there, quiet)
    with alone_in(folder):
        if home is not None:
            work.start_from(Path(home))
        work.run(slice)
    return work
