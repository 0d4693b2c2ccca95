"""The part of a record that tells how good its images are."""

from typing import Annotated

from pydantic import Field

from bench.records.parts import Count, Number, Open, Part, Rare, Text


class Score(Part):
    """One metric: its value, 95 % interval (None where there is none), images, and what it compares with.

    `resize` is how images came to the extractor's size, `rounding` how they came to 8 bits, `dimensions` how many features.
    """

    value: Number
    ci_low: Number | None
    ci_high: Number | None
    n: Count
    extractor_sha256: Text | None = Rare
    reference_sha256: Text | None = Rare
    resize: Text | None = Rare
    rounding: Text | None = Rare
    dimensions: Count | None = Rare
    reference_name: Annotated[Text | None, Field(title="reference")] = Rare
    reference_n: Annotated[Count | None, Field(title="reference images")] = Rare


class TrajectoryError(Score):
    """Relative RMSE to the converged solution, which states its own error."""

    reference: Text = Field(title="converged solution")
    reference_error: Number


class Quality(Open):
    """Metrics by name; these two every run may have, the others are the plan's."""

    __pydantic_extra__: dict[str, Score]
    trajectory_error: TrajectoryError | None = Field(
        None, title="trajectory error", description="trajectory error (relative RMSE)"
    )
    label_agreement: Score | None = Field(None, title="label agreement")
