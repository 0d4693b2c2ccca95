"""What `bench tune` chose, as YAML that a plan takes in."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Annotated

from pydantic import Field

from samplers.documents import read_document
from samplers.errors import UserError
from samplers.settings import Settings, SpecText


class Tuned(Settings):
    """The record of a choice of settings. Scores are smaller where better; None of a candidate that gave none."""

    samplers: tuple[SpecText, ...] = Field(
        min_length=1, description="what was chosen: for each number of calls, with its steps"
    )
    teacher: str = Field(description="its name and the start of its hash")
    seed: Annotated[int, Field(ge=0)] = Field(description="of the noises that it was chosen on")
    images: Annotated[int, Field(ge=2)] = Field(description="of each candidate")
    candidates: Annotated[int, Field(ge=1)] = Field(description="of each sampler at each number of calls")
    ranked_by: dict[str, str] = Field(description="the score that decided, by sampler")
    scores: dict[str, dict[str, float | None]] = Field(description="of every candidate, by sampler and number of calls")


TUNED = "tuned"
"""In the place of a sampler: those that `bench tune` chose."""


def chosen(texts: Iterable[str], tuned: Path | None) -> tuple[str, ...]:
    """Samplers, with those in the place of the word "tuned" that the file holds.

    Raises:
        UserError: no file where one is needed, or none that 'bench tune' wrote.
    """
    texts = tuple(texts)
    if TUNED not in texts:
        return texts
    if tuned is None:
        raise UserError(f"the plan asks for samplers as '{TUNED}'; choose with 'bench tune' and name its file with --tuned")
    own = Tuned.of(read_document(tuned, "choice of 'bench tune'")).samplers
    return tuple(chain(*(own if text == TUNED else (text,) for text in texts)))
