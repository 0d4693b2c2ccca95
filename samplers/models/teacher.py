"""What a teacher is, whatever its networks: a denoiser with an identity; and finding one by its name."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from samplers.errors import UserError, foreign, one_line
from samplers.models.scaling import Scaling
from samplers.registry import load_spec
from samplers.schedule import Schedule

GROUP = "bench.teachers"


class Description(NamedTuple):
    """A teacher in a few words: a row of `bench list`."""

    shape: str
    classes: int
    predicts: str
    parameters: int
    trained: str


class Teacher(nn.Module, ABC):
    """A `Denoiser` with an identity. A subclass writes `forward`, which is the denoiser, and `networks`.

    Attributes:
        name: what records call it.
        sha256: of its weights; None where they have none, and then nothing that comes from it is cached.
        data: SHA-256 of the data it was trained on, by which an extractor is found; None if nobody knows.
        shape: (C, H, W) of the states that it denoises.
        num_classes: K, for labels 0 .. K - 1, and -1 for none; 0 if it takes no labels.
        schedule: its time, and in sigma_min and sigma_max the noise levels that it knows.
        sigma_end: the level at which sampling may end, sigma_min unless it is no good that low.
        scaling: what its network's output means; None of a denoiser that is not a network and a scaling.
        card: all else that is recorded of it.
        unconditional: whether it takes labels None and -1; one that does not needs a class for each image.
        image_shape: (C', H', W') of what `decode` makes: `shape`, unless it works in a latent space; None of latents that it
            cannot decode.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, int, int],
        num_classes: int,
        schedule: Schedule,
        *,
        sigma_end: float | None = None,
        scaling: Scaling | None = None,
        sha256: str | None = None,
        data: str | None = None,
        card: dict[str, Any] | None = None,
    ):
        super().__init__()
        self.name, self.sha256, self.data, self.card = name, sha256, data, card or {}
        self.shape, self.num_classes = shape, num_classes
        self.schedule, self.scaling = schedule, scaling
        self.sigma_min, self.sigma_max = schedule.sigma_min, schedule.sigma_max
        self.sigma_end = self.sigma_min if sigma_end is None else sigma_end
        self.unconditional = True
        self.image_shape: tuple[int, int, int] | None = shape

    @abstractmethod
    def forward(self, x: Tensor, sigma: float | Tensor, labels: Tensor | None = None) -> Tensor:
        """x0_hat, shaped like x [B, C, H, W], for sigma a float or a tensor (0-d or [B]), labels int64 [B] or None."""

    @abstractmethod
    def networks(self) -> list[nn.Module]:
        """The networks that a call of it evaluates; what is counted, compiled and timed is their calls.

        One called several times (guidance) counts as often; one inside another of the list counts with that. Forwards are
        the images of a call, or what a network's method `evaluations` says, as `bench.instruments.meter` tells. [] of an
        analytic denoiser: its own calls are counted.
        """

    def decode(self, x: Tensor) -> Tensor:
        """Images [B, C', H', W'] in [-1, 1] of denoised states [B, C, H, W]: the same, unless it works in a latent space.

        Raises:
            UserError: one whose `image_shape` is None.
        """
        return x

    def prompt(self, texts: Sequence[str]) -> None:
        """Take K prompts, which are then its K classes, and -1 the one without; once, before anything is counted or timed.

        Raises:
            UserError: prompts for a teacher that reads none, or none for one that needs them.
        """
        if texts:
            raise UserError(f"teacher '{self.name}' reads no prompts; leave out --prompts")

    @property
    def latent(self) -> bool:
        """Whether its states are decoded into images."""
        return self.image_shape is not None and self.image_shape != self.shape

    def describe(self) -> Description:
        """What `bench list` says of it."""
        parameters = sum(p.numel() for network in self.networks() for p in network.parameters())
        predicts = self.scaling.name if self.scaling else "x0"
        return Description("x".join(map(str, self.shape)), self.num_classes, predicts, parameters, "")


def load_teacher(spec: str | Path, *, device: torch.device | str = "cpu", prompts: Sequence[str] = ()) -> Teacher:
    """Load a teacher, ready to sample (eval mode, on the device): "NAME" of the zoo, a card's path, or "KIND:REST".

    Of one that makes images of texts, `prompts` are the classes.

    KIND is an entry point of the group `bench.teachers`, a function `load(rest: str, device: torch.device | str) -> Teacher`
    that raises UserError for what it cannot use. "zoo" and "python" ship.

    Raises:
        UserError: an unknown name or KIND; whatever the loader refuses; prompts that are not read, or are needed.
    """
    load, rest = load_spec(GROUP, str(spec))
    with foreign(f"teacher '{one_line(spec)}' cannot be loaded", "its author must mend it"):
        teacher = load(rest, device)
        if not isinstance(teacher, Teacher):
            raise UserError(f"teacher {one_line(spec)}: its loader returned a {type(teacher).__name__}, not a samplers.Teacher")
        teacher.prompt(prompts)
    return teacher
