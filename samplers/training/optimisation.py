"""How a training goes: its rates, its averages, and what is random in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from samplers.errors import UserError, unknown


@dataclass(frozen=True)
class Optimisation:
    """How to train: Adam, linear warm-up, then a linear or no decay, an EMA with warm-up.

    Attributes:
        steps: updates in all.
        batch: images per update.
        learning_rate: the peak.
        warmup: updates of linear warm-up.
        decay: "linear" (to 0 at `steps`) or "none".
        ema: decay of the weights' moving average per update, lowered to (1 + k) / (10 + k) early on.
        clip: largest gradient norm.
        seed: of everything random.
        checkpoint_seconds: time between checkpoints.
        validate_every: updates between validations.
        accumulate: parts that an update's batch is computed in, one after another, where it does not fit in memory at once.
        compile: on a GPU, compile the networks of the loss and replay them as CUDA graphs.
    """

    steps: int
    batch: int = 128
    learning_rate: float = 4e-4
    warmup: int = 200
    decay: str = "linear"
    ema: float = 0.999
    clip: float = 1.0
    seed: int = 0
    checkpoint_seconds: float = 60.0
    validate_every: int = 500
    accumulate: int = 1
    compile: bool = False

    def __post_init__(self) -> None:
        if self.decay not in ("linear", "none"):
            raise unknown("decay", str(self.decay), ("linear", "none"))
        if self.accumulate < 1 or self.batch % self.accumulate:
            raise UserError(f"accumulate: a batch of {self.batch} has no {self.accumulate} equal parts; choose a divisor of it")

    @property
    def part(self) -> int:
        """Images that the loss draws at once."""
        return self.batch // self.accumulate

    def to_dict(self) -> dict[str, Any]:
        """As a training's identity tells it: without what came later, where that is at its default."""
        values = {k: v for k, v in vars(self).items() if k not in ("accumulate", "compile")}
        later = {k: v for k, v in (("accumulate", self.accumulate), ("compile", self.compile)) if v != getattr(Optimisation, k)}
        return values | later

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
