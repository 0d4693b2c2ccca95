"""What a recommendation is asked for."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from samplers.errors import clipped
from samplers.settings import Settings

CLOSE = 1.1
"""Times the best quality: what counts as good where nothing else is asked for."""


def _times(value: Any) -> Any:
    """A number, or a word that is one, with an x behind it or without."""
    if not isinstance(value, str):
        return value
    try:
        return float(value.strip().removesuffix("x"))
    except ValueError:
        raise ValueError(f"must be a number of times the best, as 1.2x, not {clipped(value)}") from None


Times = Annotated[float, BeforeValidator(_times, json_schema_input_type=float | str)]


class Budget(Settings):
    """What an image may cost, how good it must be, and how many will be made; at least one of them."""

    latency_ms: float | None = Field(None, gt=0, description="milliseconds for one image at most")
    calls: float | None = Field(None, gt=0, description="network calls of a pass at most")
    quality: Times | None = Field(None, ge=1, description="times the best measured quality at most, as 1.2x; then the cheapest")
    images: float | None = Field(
        None, ge=1, description="images that will be made, as 1e6: then the least time for all of them, training included"
    )
    memory: float | None = Field(None, gt=0, description="gigabytes (1e9 bytes) of memory at most")

    @model_validator(mode="after")
    def _asked(self) -> "Budget":
        if not self.identity():
            raise ValueError("nothing is asked for; give --latency-ms, --calls, --quality, --images or --memory")
        return self

    @property
    def timed(self) -> bool:
        """Whether it takes times to tell."""
        return self.latency_ms is not None or self.images is not None

    def told(self) -> str:
        """The budget in words, "at most 5 calls, 1.2 times the best quality"."""
        from bench.presentation.text import plural  # here, for it loads pandas, which no help must

        parts = {
            "at most {}": self.calls is not None and plural(self.calls, "call"),
            "at most {} ms for one image": self.latency_ms is not None and f"{self.latency_ms:.4g}",
            "at most {} GB": self.memory is not None and f"{self.memory:g}",
            "within {} times the best quality": self.quality is not None and f"{self.quality:g}",
            "{} images": self.images is not None and f"{self.images:,.0f}",
        }
        return ", ".join(text.format(value) for text, value in parts.items() if value)
