"""How a training goes: its rates, its averages, and what is random in it."""

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from samplers.settings import Settings


class Optimisation(Settings):
    """How to train: Adam, linear warm-up, then a linear or no decay, an EMA with warm-up."""

    steps: int = Field(ge=1, le=10**9, description="updates in all")
    batch: int = Field(128, ge=1, le=2**20, description="images per update")
    learning_rate: float = Field(4e-4, gt=0, description="the peak")
    warmup: int = Field(200, ge=0, description="updates of linear warm-up")
    decay: Literal["linear", "none"] = Field("linear", description="`linear` goes to 0 at `steps`")
    ema: float = Field(
        0.999, ge=0, lt=1, description="decay of the weights' moving average per update, lowered to (1 + k) / (10 + k) early on"
    )
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    seed: int = Field(0, ge=0, le=10**18, description="of everything random")
    checkpoint_seconds: float = Field(60.0, description="time between checkpoints")
    validate_every: int = Field(500, ge=1, description="updates between validations")
    accumulate: int = Field(
        1, ge=1, description="parts that an update's batch is computed in, where it does not fit in memory at once"
    )
    compile: bool = Field(
        False,
        description="compile the networks of the loss: on a GPU replayed as CUDA graphs, on a CPU from 1,000 updates on",
    )

    @model_validator(mode="after")
    def _parts(self) -> Self:
        if self.batch % self.accumulate:
            raise ValueError(
                f"accumulate: a batch of {self.batch} has no {self.accumulate} equal parts; choose a divisor of it"
            )
        return self

    @property
    def part(self) -> int:
        """Images that the loss draws at once."""
        return self.batch // self.accumulate

    def rate_at(self, step: int) -> float:
        """Learning rate of update `step` (from 0)."""
        rate = self.learning_rate * min(1.0, (step + 1) / max(self.warmup, 1))
        return rate * (1 - step / self.steps) if self.decay == "linear" else rate


def step_generator(seed: int, step: int) -> torch.Generator:
    """A CPU generator that depends on seed and step alone."""
    mixed = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed))


def normal(shape: Sequence[int], generator: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal numbers on `device`, a function of the CPU `generator`'s state.

    A GPU draws its own, seeded from `generator`: a CPU would take as long for them as the GPU for the update.
    """
    if device.type == "cpu":
        return torch.randn(tuple(shape), generator=generator)
    own = torch.Generator(device).manual_seed(int(torch.randint(2**62, (), generator=generator)))
    return torch.randn(tuple(shape), generator=own, device=device)
