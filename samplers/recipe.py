"""Recipes: what `bench train` reads, one YAML file a study with a section for each thing to train."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from samplers.data import ImageSet, load_images
from samplers.errors import UserError, unknown
from samplers.training import Optimisation

RECIPES = Path(__file__).parent / "recipes"
DATA = ("train", "held_out")
"""Keys of a recipe's section `data`."""


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


def optimisation(values: dict[str, Any], where: str) -> Optimisation:
    """An `Optimisation` from a recipe's section; a wrong key or a missing one is a UserError."""
    try:
        return Optimisation(**values)
    except TypeError as e:
        raise UserError(f"{where}: optimisation: {str(e).replace('Optimisation.__init__() ', '')}") from e


def load_split(data: dict[str, Any], split: str, folder: Path) -> ImageSet:
    """The images of one split ("train", "held_out") of a recipe's data section, files looked up in `folder`."""
    named = data[split] if isinstance(data[split], list) else [data[split]]
    sources = [s if str(s).startswith("torchvision:") else folder / s for s in named]
    return load_images(sources, data.get("image_size"))
