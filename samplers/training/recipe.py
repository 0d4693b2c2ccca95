"""Recipes: what `bench train` reads, one YAML file a study with a section for each thing to train."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from samplers.documents import Document, read_document
from samplers.errors import UserError, unknown
from samplers.settings import Settings, checked
from samplers.training.data import ImageSet, load_images
from samplers.training.optimisation import Optimisation

RECIPES = Path(__file__).parents[1] / "recipes"

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=100)]
"""What a training makes is called so: a file's name too."""
Share = Annotated[float, Field(ge=0, lt=1)]
"""A probability, or a decay."""


def one_of(kind: str, known: Collection[str]) -> Any:
    """A word that is one of the `known`: `Annotated[str, one_of("grid", GRIDS)]`."""

    def check(value: str) -> None:
        if value not in known:
            raise unknown(kind, value, known)

    return checked(check)


class DataSettings(Settings):
    """The section `data` of a recipe: images with classes, in EDM's layout or torchvision's."""

    train: tuple[Annotated[str, Field(max_length=1000)], ...] = Field(
        min_length=1, description="one or more zips or folders with `dataset.json`, or `torchvision:CLASS:ROOT`"
    )
    held_out: tuple[Annotated[str, Field(max_length=1000)], ...] = Field(
        min_length=1, description="as `train`, of images that nothing is trained on"
    )
    image_size: int | None = Field(None, ge=1, le=4096, description="height and width, in pixels, to pad the images to")
    flip: bool = Field(False, description="train on mirrored images too")


class HeldOutNoises(Settings):
    """Noises that no student trains on, to score one while it trains."""

    count: int = Field(ge=1, le=10**6, description="how many")
    seed: int = Field(ge=0, le=10**18, description="of the noises")


class StudentRecipe(Settings):
    """What the sections of all students have."""

    name: Name = Field(description="of the student: its card's and its weights' file")
    teacher: str = Field(min_length=1, description="its teacher's name, or the path of its card")
    held_out: HeldOutNoises = Field(description="noises to score it by: their `count` and `seed`")
    optimisation: Optimisation = Field(description="how it is trained")
    search: tuple[dict[str, Any], ...] = Field(
        (),
        description="what differs in each of some variants, all trained for a small share of the work first; the one whose "
        "`error@0` is lowest is trained",
    )


def read_recipe(name: str | Path) -> Document:
    """A recipe: a shipped one by its name ("mnist32"), or any by the path of its YAML file.

    Raises:
        UserError: no such recipe, or not one.
    """
    path = RECIPES / f"{name}.yaml" if Path(name).suffix == "" else Path(name)
    try:
        there = path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        there = False
    if not there:
        raise unknown("recipe", str(name), (p.stem for p in RECIPES.glob("*.yaml")))
    return read_document(path, "recipe")


def merged(base: Document, changes: Document, replaced: Collection[str] = ()) -> Document:
    """`base` with `changes` put over it, section by section; of the sections named in `replaced` none is merged.

    Errors are told of the place of what was changed, else of the base's.
    """
    lines = {**base.lines, **changes.lines}
    values = dict(base.values)
    for key, value in changes.values.items():
        nested = isinstance(value, Mapping) and isinstance(values.get(key), Mapping) and key not in replaced
        values[key] = merged(base.section(key), changes.section(key)).values if nested else value
    base_keys, own = base.section_keys, changes.section_keys
    for keys, line in base.lines.items():
        if keys[: len(base_keys)] == base_keys:
            lines.setdefault((*own, *keys[len(base_keys) :]), line)
    return Document(values, changes.origin, lines, own)


def same_settings(a: Any, b: Any, kinds: Mapping[str, type[Settings]]) -> bool:
    """Whether two trainings were asked for the same, by section: what is left at its default is as good as written.

    Args:
        a, b: sections of recipes by name, as cards and checkpoints keep them.
        kinds: the settings of each section.
    """
    return a == b or _whole(a, kinds) == _whole(b, kinds)


def _whole(recipe: Any, kinds: Mapping[str, type[Settings]]) -> Any:
    if not isinstance(recipe, Mapping) or recipe.keys() != kinds.keys():
        return recipe
    try:
        return {section: kinds[section].of(Document(values, section)) for section, values in recipe.items()}
    except (UserError, TypeError):  # of another time: it is what it says
        return recipe


def sources_of(data: DataSettings, split: str, folder: Path) -> list[str | Path]:
    """What `load_images` reads for a split of a recipe's data section: paths in `folder`, or torchvision's sets."""
    return [s if s.startswith("torchvision:") else folder / s for s in getattr(data, split)]


def load_split(data: DataSettings, split: str, folder: Path) -> ImageSet:
    """The images of one split ("train", "held_out") of a recipe's data section, files looked up in `folder`.

    Raises:
        UserError: as `load_images`, or images that are not square.
    """
    images = load_images(sources_of(data, split, folder), data.image_size)
    height, width = images.images.shape[2:]
    if height != width:
        raise UserError(f"data: images of {width}x{height} pixels; set image_size, to which they are padded, for a square")
    return replace(images, flip=data.flip and split == "train")
