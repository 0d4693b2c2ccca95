"""The section `progressive` of a recipe: a ladder, and how each rung of it is trained."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from samplers.distilled.losses import METRICS
from samplers.distilled.progressive import WEIGHTS, ladder
from samplers.documents import Document
from samplers.errors import UserError
from samplers.training.optimisation import Optimisation
from samplers.training.recipe import Share, StudentRecipe, merged, one_of


class RungRecipe(StudentRecipe):
    """What makes the training of one rung: the section `progressive` without the ladder's end and the other rungs."""

    start: int = Field(ge=2, le=2**20, description="DDIM steps of the teacher, a power of two")
    weights: Annotated[str, one_of("weights", WEIGHTS)] = Field(
        description="of a noise level: `truncated_snr`, max(SNR, 1), or `snr_plus_1`"
    )
    metric: Annotated[str, one_of("metric", METRICS)] = Field(
        description="of the weighted difference: `pseudo_huber`, or `l2` as the paper has it"
    )
    label_dropout: Share = Field(description="share of images without their class")


class ProgressiveRecipe(RungRecipe):
    """The section `progressive` of a recipe."""

    end: int = Field(ge=1, description="DDIM steps of the last student")
    rungs: dict[int, dict[str, Any]] = Field(description="what differs in the optimisation of one, by its steps")
    growth: float = Field(
        1.0, ge=0.1, le=10, description="work of each, as a multiple of the one above, where the recipe's work is divided"
    )

    @model_validator(mode="after")
    def _rungs_are_there(self) -> Self:
        try:
            steps = ladder(self.start, self.end)
        except UserError as e:
            raise ValueError(f"end: {e}") from e
        if extra := sorted(set(self.rungs) - set(steps)):
            raise ValueError(f"rungs: {extra[0]} is no rung; they are {', '.join(map(str, steps))}")
        return self


def plans_of(asked: Document, r: ProgressiveRecipe) -> dict[int, Optimisation]:
    """Each rung's own optimisation, by its steps."""
    base, changes = asked.section("optimisation"), asked.section("rungs")
    own = {n: merged(base, changes.section(n)) if n in r.rungs else base for n in ladder(r.start, r.end)}
    return {n: Optimisation.of(document) for n, document in own.items()}
