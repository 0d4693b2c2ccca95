"""What a profile is asked for."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from bench.instruments.choices import Mode, Threads
from samplers.settings import Settings, SpecText


class ProfileSettings(Settings):
    """What to profile, and how often."""

    sampler: SpecText = Field("dsno", description="a spec, as dsno:form=fft; it carries a network and tells its stages")
    teacher: str = Field("mnist32", description="name in the zoo, or path of a card (.json)")
    mode: Mode = Field("eager", description="plainly, by torch.compile of the network, or as a CUDA graph of the whole pass")
    batch_sizes: tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...] = Field(
        (1, 2, 4, 8, 16, 32, 64), min_length=1, description="increasing; stages are split at the first and the last"
    )
    repetitions: int = Field(20, ge=6, le=1_000_000, description="timed passes of each; an interval of the median needs six")
    threads: Threads = Field(None, ge=0, le=4096, description="CPU threads, 0 for all cores, or auto: by a short measurement")
    seed: int = Field(0, ge=0, lt=2**32, description="of the noises and of the order")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if list(self.batch_sizes) != sorted(set(self.batch_sizes)):
            raise ValueError("batch_sizes must be increasing, as in 1,4,16,64")
        return self
