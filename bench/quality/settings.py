"""What `bench score` is asked for. Loads no torch."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, model_validator

from bench.quality.choices import INCEPTION, completed
from samplers.settings import Settings


class ScoreSettings(Settings):
    """How images that were made elsewhere are scored."""

    headings: ClassVar[Mapping[str, str]] = {"reference": "Scoring"}

    reference: str | None = Field(
        None,
        description="what is compared with: a folder, zip or npz of images, a file of statistics, or cifar10-train and the "
        "like; none: the extractor's own",
    )
    metrics: tuple[str, ...] = Field(
        ("fid",), description="kinds of quality; see 'bench list'; of another extractor than inception it is fd"
    )
    extractor: str = Field(INCEPTION, description="feature extractor")
    inception_weights: str | None = Field(None, description="file of Inception's published weights; none: fetched")
    batch_size: int = Field(64, ge=1, le=100_000, description="images per call of the extractor")
    seed: int = Field(0, ge=0, lt=2**32, description="of the subsets and splits that metrics draw")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        found = completed(values)
        other = found.get("extractor") not in (None, INCEPTION)
        return {"metrics": ("fd",), **found} if other else {k: v for k, v in found.items() if v is not None}
