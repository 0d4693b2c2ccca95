"""Recipes: what `bench train` reads, one YAML file a study with a section for each thing to train."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

from samplers.errors import UserError, unknown
from samplers.training.data import ImageSet, load_images
from samplers.training.optimisation import Optimisation

RECIPES = Path(__file__).parents[1] / "recipes"
DATA = ("train", "held_out")
"""Keys that a recipe's section `data` must have; it may have `image_size`, and `flip` to train on mirrored images too."""


def load_recipe(name: str | Path, sections: Mapping[str, Collection[str]]) -> dict[str, Any]:
    """The asked `sections` of a recipe.

    Args:
        name: a shipped recipe ("mnist32") or the path of a YAML file.
        sections: what is wanted of it, and the keys that each section must have.

    Raises:
        UserError: no such recipe, not YAML, no such section, or a key missing in it.
    """
    path = RECIPES / f"{name}.yaml" if Path(name).suffix == "" else Path(name)
    if not path.is_file():
        raise unknown("recipe", str(name), (p.stem for p in RECIPES.glob("*.yaml")))
    try:
        recipe = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(e).split())}") from e
    for key, keys in sections.items():
        if not isinstance(recipe, dict) or not isinstance(recipe.get(key), dict):
            raise UserError(f"{path} has no section '{key}'")
        if lacking := sorted(set(keys) - recipe[key].keys()):
            raise UserError(f"{path}: section '{key}' lacks {', '.join(lacking)}")
    return {key: recipe[key] for key in sections}


Kind = TypeVar("Kind")


def build(kind: type[Kind], values: Any, where: str) -> Kind:
    """A dataclass of numbers and words from a recipe's section, every value checked against its field's type.

    Raises:
        UserError: not a section, an unknown key, one missing, or a value of another type.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: must be a section of 'key: value' lines, not {values!r}")
    hints = get_type_hints(kind)
    for key, value in values.items():
        if key in hints:
            check_value(value, hints[key], f"{where}: {key}")
    try:
        return kind(**values)
    except TypeError as e:
        raise UserError(f"{where}: {str(e).replace(f'{kind.__name__}.__init__() ', '')}") from e


def optimisation(values: Any, where: str) -> Optimisation:
    """An `Optimisation` from a recipe's section `optimisation`."""
    o = build(Optimisation, values, f"{where}: optimisation")
    if min(o.steps, o.batch, o.validate_every) < 1:
        raise UserError(f"{where}: optimisation: steps, batch and validate_every must be at least 1")
    return o


def check_value(value: Any, kind: Any, where: str, low: float | None = None) -> None:
    """Refuse a value that is not an int, a float (an int will do), a str or a bool, as asked; or a number below `low`.

    Raises:
        UserError: so it is; YAML reads 1e-3 as a word, which the message tells.
    """
    named = {int: "a whole number", float: "a number", str: "a word"}
    if kind is bool and not isinstance(value, bool):
        raise UserError(f"{where} must be true or false, not {value!r}")
    if kind in named:
        fits = (int, float) if kind is float else kind
        if isinstance(value, bool) or not isinstance(value, fits):
            hint = " (YAML's numbers have a point: 1.0e-3)" if kind is float and isinstance(value, str) else ""
            raise UserError(f"{where} must be {named[kind]}, not {value!r}{hint}")
    if low is not None and value < low:
        raise UserError(f"{where} must be at least {low}, got {value}")


def check_share(value: Any, where: str) -> None:
    """Refuse what is not a number of at least 0 and below 1."""
    check_value(value, float, where, 0)
    if not value < 1:
        raise UserError(f"{where} must be below 1, got {value}")


def sources_of(data: dict[str, Any], split: str, folder: Path) -> list[str | Path]:
    """What `load_images` reads for a split of a recipe's data section: paths in `folder`, or torchvision's sets."""
    named = data[split] if isinstance(data[split], list) else [data[split]]
    return [s if str(s).startswith("torchvision:") else folder / s for s in named]


def load_split(data: dict[str, Any], split: str, folder: Path) -> ImageSet:
    """The images of one split ("train", "held_out") of a recipe's data section, files looked up in `folder`."""
    flip = data.get("flip", False)
    check_value(flip, bool, "data: flip")
    images = load_images(sources_of(data, split, folder), data.get("image_size"))
    height, width = images.images.shape[2:]
    if height != width:
        raise UserError(f"data: images of {width}x{height} pixels; set image_size, to which they are padded, for a square")
    return replace(images, flip=flip and split == "train")
