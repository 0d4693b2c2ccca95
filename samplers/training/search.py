"""A short search of a student's settings: a few variants, each trained for the same small share of the work."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from samplers.documents import Document
from samplers.errors import UserError
from samplers.files import read_json, write_json
from samplers.models.unet_teacher import load_unet_teacher
from samplers.training.budget import StudentsRecipe

if TYPE_CHECKING:
    from samplers.training.student import StudentTraining

FOUND = "search.json"


def search(
    trainer: "type[StudentTraining]",
    recipe: Document,
    data: Path | None,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    quiet: bool = False,
) -> dict[str, Any]:
    """Train every variant of a section's `search` by its share of the work, or go on; kept as `out/search.json`.

    Returns:
        What is kept: the section and the share, of each variant what differs, its error and its work, and the `chosen` one.

    Raises:
        UserError: what the trainings refuse, or a folder of another search.
    """
    section, settings = trainer.section_of(recipe), StudentsRecipe.of(recipe.section("students"))
    teacher = load_unet_teacher(trainer.Recipe.of(trainer.asked_of(recipe)).teacher, device=device).sha256
    asked = {"section": dict(section.values), "students": settings.values(), "teacher_sha256": teacher}
    asked, kept = json.loads(json.dumps(asked)), out / FOUND
    if kept.exists():
        found = read_json(kept, "search", "remove it to search again", ("asked", "variants", "chosen"))
        if found["asked"] != asked:
            raise UserError(f"{kept} is of another recipe or teacher; choose another --out or remove its folder")
        return found
    folder, rows = data or trainer.usual_data(recipe, out), []
    for k, variant in enumerate(trainer.variants(recipe)):
        training = trainer(variant, folder, out / "search" / f"{k}", device=device, quiet=quiet)
        training.share = settings.search
        error, tflop = training.result(training.run())
        rows.append({"changes": section.values["search"][k], "error@0": error, "tflop": tflop})
    chosen = min(range(len(rows)), key=lambda k: rows[k]["error@0"])
    found = {"asked": asked, "share": settings.search, "variants": rows, "chosen": chosen}
    if training.world.rank == 0:
        write_json(kept, found)
    training.world.wait()
    return found
