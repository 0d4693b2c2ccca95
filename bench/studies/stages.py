"""A study's stages: what its recipe wants done, in order, and what each needs; no method is known here by its name."""

import json
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from pathlib import Path
from typing import Annotated

from pydantic import Field

from samplers.documents import Document
from samplers.errors import UserError, one_line, unknown
from samplers.registry import HELD, TRAINERS, entries, load_entry
from samplers.settings import Settings
from samplers.training.trainer import Trainer

MEASURED = ("tune", "run", "profile")
"""Stages that train nothing."""
Counts = Annotated[int, Field(ge=1)]


class StudyRecipe(Settings):
    """The section `campaign` of a recipe."""

    plan: str = Field(min_length=1, description="of its run: a shipped plan's name, or a YAML file")
    rungs: tuple[Counts, ...] = Field(description="of a ladder of students: the steps of those that go home, besides the last")
    batch_sizes: tuple[Counts, ...] = Field(min_length=1, description="of the profile")
    seconds: dict[str, Annotated[float, Field(ge=0)]] = Field(
        min_length=1,
        description="the stages in order, sections of this recipe or `tune`, `run` or `profile`, and the seconds after which "
        "each lets the others go first",
    )
    needs: dict[str, list[str]] = Field(
        {},
        description="stages that must be done before one; by default the stage that makes its `teacher`, and for `tune`, "
        "`run` and `profile` all that no other needs",
    )
    remade: tuple[str, ...] = Field((), description="stages whose results are too large to travel, and are made again")


def trainer_of(stage: str) -> type[Trainer]:
    """What trains a stage.

    Raises:
        UserError: no entry point of this name, or one that is no trainer.
    """
    found = HELD.get((TRAINERS, stage)) or load_entry(TRAINERS, stage)
    if not (isinstance(found, type) and issubclass(found, Trainer)):
        raise UserError(f"trainer '{stage}' is no subclass of samplers.training.trainer.Trainer; its author must mend it")
    return found


def needs_of(recipe: Document) -> dict[str, list[str]]:
    """The stages of a recipe's section `campaign`, in order, and which must be done before each.

    Raises:
        UserError: a stage that nothing trains or that the recipe has no section of, or stages that need one another.
    """
    asked = recipe.section("campaign")
    r = StudyRecipe.of(asked)
    stages, told = list(r.seconds), chain(r.needs, *r.needs.values())
    known = [*entries(TRAINERS), *MEASURED]
    for key, names, of in (("seconds", stages, known), ("needs", told, stages), ("remade", r.remade, stages)):
        if wrong := [s for s in names if s not in of]:
            raise UserError(f"{asked.place((key,))}: campaign: {key}: {unknown('stage', wrong[0], of)}")
    sections = {s: recipe.section(s).values for s in stages if s not in MEASURED}
    makers = {str(values["name"]): s for s, values in sections.items() if "name" in values}
    needs: dict[str, list[str]] = {}
    for stage, values in sections.items():
        maker = makers.get(str(values.get("teacher")))
        needs[stage] = r.needs.get(stage, [maker] if maker and maker != stage else [])
    needed = set(chain(*needs.values()))
    leaves = [s for s in needs if s not in needed]
    needs = {s: needs.get(s, r.needs.get(s, leaves)) for s in stages}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as e:
        raise UserError(f"{asked.place(('needs',))}: campaign: needs: {' needs '.join(e.args[1][::-1])}") from e
    return needs


class State(Settings):
    """How far a study is: what its folder keeps, and the table of contents of what goes home."""

    recipe: str
    done: list[str]
    spent: dict[str, float]


def read_state(path: Path) -> State:
    """How far the study of a folder is.

    Raises:
        UserError: the file cannot be read, or is another.
    """
    try:
        values = json.loads(path.read_text())
        return State.of(Document(values, str(path)))
    except (OSError, ValueError, TypeError, RecursionError) as e:
        raise UserError(f"{path} cannot be read ({one_line(e)}); put it back, or remove its folder to begin again") from e
