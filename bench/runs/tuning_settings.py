"""What `bench tune` is asked for."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from bench.runs.plan import Count, Grid
from samplers.schedule import GRIDS, LASTS
from samplers.settings import Settings, SpecText

Level = Annotated[float, Field(gt=0, le=1e6)]


class TuningSettings(Settings):
    """What is tried, and on what."""

    samplers: tuple[SpecText, ...] = Field(("all",), min_length=1, description="whose settings to choose; all: of every one")
    calls: tuple[Count, ...] = Field((5, 10, 20), min_length=1, description="budgets of network calls to choose for")
    seed: int = Field(1, ge=0, lt=2**32, description="of the noises, another than the plan's")
    images: int = Field(400, ge=2, le=10_000_000, description="of each candidate")
    grids: tuple[Grid, ...] = Field(tuple(GRIDS), min_length=1, description="time grids to try")
    ends: tuple[Level, ...] = Field((0.01, 0.02, 0.05), min_length=1, description="noise levels of a solver's last node to try")
    lasts: tuple[str, ...] = Field(LASTS, min_length=1, description="last steps of a solver to try: denoise, stop")
    levels: tuple[Level, ...] = Field(
        (0.3, 0.5, 0.8, 1.2, 2.0, 3.0),
        min_length=1,
        description="lowest levels that a consistency model re-noises to, to try; as many as a solver has ends and last steps",
    )

    @model_validator(mode="after")
    def _equal(self) -> Self:
        if (own := len(self.levels)) != (solvers := len(self.ends) * len(self.lasts)):
            raise ValueError(f"levels must be as many as ends times lasts, {solvers}, not {own}: equal effort for every method")
        return self
