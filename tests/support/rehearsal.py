"""Shipped recipes made small enough to run in seconds: the same sections and kinds of layers, two updates, few tiny images."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image

import samplers.models.teacher
import samplers.models.zoo
from bench.studies.study import Campaign
from samplers.training.recipe import RECIPES

CLASSES = 3
OPTIMISATION = {"steps": 2, "batch": 4, "warmup": 1, "validate_every": 1, "checkpoint_seconds": -1.0}
WORK = 1.8e-3
"""TFLOP for a few updates of a small student."""


def write_images(folder: Path, count: int, size: int, channels: int, first: int = 0) -> None:
    """Noisy bright bars, one place a class, in EDM's layout."""
    folder.mkdir(parents=True)
    rng, labels = np.random.default_rng(first), []
    for i in range(count):
        pixels = rng.integers(0, 60, (size, size, channels), dtype=np.uint8)
        pixels[size // CLASSES * (i % CLASSES) :][: size // CLASSES] += 150
        Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels).save(folder / f"{i}.png")
        labels.append([f"{i}.png", i % CLASSES])
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))


def _short(optimisation: dict[str, Any]) -> dict[str, Any]:
    """Without `steps` where it has none: the work of all students pays for them."""
    own = {k: v for k, v in OPTIMISATION.items() if k != "steps" or k in optimisation}
    return optimisation | own | ({"accumulate": 2} if "accumulate" in optimisation else {})


def shrunk(name: str, folder: Path) -> Path:
    """A shipped recipe, small, in `folder`, which also gets its images; returns the recipe's path."""
    recipe = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    size, channels = (64 if "imagenet64" in name else 32), (1 if "mnist" in name else 3)
    write_images(folder / "train", 12, size, channels)
    write_images(folder / "test", 6, size, channels, first=100)
    recipe["data"] |= {"train": ["train"], "held_out": ["test"]}
    recipe["teacher"]["network"] |= {"width": 8, "blocks": 1, "embedding": 16}
    if "head_width" in recipe["teacher"]["network"]:
        recipe["teacher"]["network"]["head_width"] = 8
    recipe["extractor"]["network"] |= {"widths": [8, 8, 8, 8], "features": 4}
    recipe["extractor"]["reference_images"] = 8
    recipe["trajectories"] |= {"steps": 4, "count": 6, "shard": 3, "batch": 3}
    recipe["dsno"]["held_out"]["count"] = 2
    ladder = recipe["progressive"]
    ladder |= {"start": 8, "rungs": {k: _short(v) for k, v in ladder["rungs"].items() if k in (4, 2, 1)}}
    ladder["held_out"]["count"] = 2
    for key in ("consistency", "consistency_training"):
        if key in recipe:
            recipe[key] |= {"intervals": [2, 2]}
            recipe[key]["held_out"]["count"] = 2
    for section in recipe.values():
        if isinstance(section, dict) and "optimisation" in section:
            section["optimisation"] = _short(section["optimisation"])
        if isinstance(section, dict) and "search" in section and section is not recipe.get("students"):
            section["search"] = [{k: v for k, v in changes.items() if k != "intervals"} for changes in section["search"][:2]]
    recipe["knowledge_distillation"]["optimisation"] = {"batch": 4} if "students" in recipe else {"steps": 2}
    recipe.pop("ablations", None)
    if "students" in recipe:
        recipe["students"] = {"tflop": WORK, "search": 0.9}
    if "campaign" in recipe:
        recipe["campaign"] |= {"plan": str(folder / "plan.yaml"), "batch_sizes": [1]}
        for stages in (recipe["campaign"]["seconds"], recipe["campaign"]["needs"]):
            stages.pop("ablations", None)
        plan = {
            "samplers": ["ddim", "dsno", "knowledge_distillation", "progressive@1", "consistency"],
            "teacher": recipe["teacher"]["name"],
            "calls": [1],
            "images": 8,
            "trajectory_images": 0,
            "batch_size": 4,
            "repetitions": 3,
            "device": "cpu",
            "threads": 1,
        }
        if "extractor" not in recipe["campaign"]["seconds"]:
            plan |= {"extractor": "mnist"}
        if "dsno_again" in recipe:
            plan["samplers"].append(f"dsno:student={recipe['dsno_again']['name']}")
        (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def begin(recipe: Path, out: Path) -> Campaign:
    """A campaign on a machine of its own: it knows no cards but its own."""
    samplers.models.zoo._trained.clear()
    return Campaign(recipe, recipe.parent, out, torch.device("cpu"), quiet=True)
