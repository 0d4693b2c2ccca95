"""One budget of work for all students of a recipe, in FLOPs, and what each training has spent of it."""

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from samplers.errors import UserError
from samplers.settings import Settings

TERA = 1e12


class StudentsRecipe(Settings):
    """The section `students` of a recipe."""

    tflop: float = Field(
        gt=0,
        le=1e12,
        description="work of each student's training where its `steps` are left out, in 10^12 FLOPs: its own forwards and "
        "gradients, its teacher's evaluations and the making of what it learns from, a whole ladder",
    )
    search: float = Field(
        0.05, gt=0, lt=1, description="share of it that each variant of a student's `search` is trained with, besides"
    )


@dataclass(frozen=True)
class Budget:
    """FLOPs that a training may spend.

    Attributes:
        flops: in all.
        made: already spent on what it learns from.
    """

    flops: float
    made: float = 0.0

    def updates(self, work: float, where: str, share: float = 1.0) -> int:
        """Updates that a share of what is left pays for.

        Args:
            work: FLOPs of an update.
            where: what an error names.
            share: of what is left.

        Raises:
            UserError: not one.
        """
        steps = round(share * (self.flops - self.made) / work)
        if steps < 1:
            told = f"{self.flops / TERA:.4g} TFLOP, {self.made / TERA:.4g} of them for what it learns from, pay for no update"
            raise UserError(f"{where}: {told} of {work / TERA:.4g}; raise `tflop` in the section students")
        return steps

    def told(self, spent: float) -> dict[str, Any]:
        """What a card says of it: `spent` FLOPs on updates, and what was allowed."""
        return {"tflop": (self.made + spent) / TERA, "tflop_allowed": self.flops / TERA}
