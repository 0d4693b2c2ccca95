"""What a sampler is: a card, and `sample(denoiser, noise, *, steps, labels=None, callback=None)`."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from samplers.denoiser import Denoiser
from samplers.errors import UserError

Callback = Callable[[int, float, Tensor, Tensor], None]
"""Called after each step as callback(step from 0, sigma after the step, x there, the denoised image it was made from).

A sampler that decodes several points of the path in one call tells each: its sigma, and as x and denoised both the image there.
"""


@dataclass(frozen=True)
class Card:
    """What a sampler claims of itself; the tests hold the claims against what is counted and measured.

    Attributes:
        name: its name in the registry, in lower_snake_case.
        family: the kind of method, for grouping and colour ("ddim", "dpm_solver", ...).
        paper: where it comes from, with the arXiv number.
        order: order of accuracy of the sampler with its warm-up steps, None where that has no meaning.
        deterministic: whether images are a function of the noise through an ODE (False: it draws more noise on the way).
        noise_from: of one that is not, the fewest steps with which it does; with fewer it is deterministic.
        calls: network calls of a run of N steps.
        grid: the paper's time grid, None for a sampler without one.
        end: noise level of that grid's last node in a run of N steps, raised to where the teacher's sampling may end; None for
            the grid's own.
        last: what comes there: `denoise`, a call more, or `stop` (see `samplers.schedule.sigmas`).
        setting: one sentence on where grid, end and last step come from, for the reader of `bench list`.
        training: whether it carries a trained network of its own.
        fitted: whether getting ready fits it to the teacher, a minute or more the first time.
        steps: the step counts it can take; None for any from 1 on.
        note: one sentence for the reader of `bench list`.
    """

    name: str
    family: str
    paper: str
    order: int | None
    deterministic: bool = True
    calls: Callable[[int], int] = lambda n: n
    grid: str | None = None
    end: Callable[[int], float] | None = None
    last: str = "denoise"
    setting: str = ""
    training: bool = False
    steps: tuple[int, ...] | None = None
    note: str = ""
    noise_from: int = 1
    fitted: bool = False

    def draws_noise(self, steps: int) -> bool:
        """Whether a run of so many steps draws more noise on the way."""
        return not self.deterministic and steps >= self.noise_from


@dataclass(frozen=True)
class Student:
    """The trained network of a sampler that carries one, as records tell of it.

    Attributes:
        name, sha256: of its weights.
        training: what making it took: {seconds, device, images, ...}; {} where nobody wrote it down. A `curve`, a list of
            {step, error@0} and seen_error where there is one, is drawn by the report: relative RMSE on noises held out and of
            the training set. `cost` counts what making it took in all, the data and the students before it too:
            {student_forwards, teacher_forwards, seconds}.
        noise_seeds: seeds whose noises it was trained on; scoring on them would not be held out.
        labels: "balanced" if it needs class labels, "none" if it knows none, "any" if it takes both.
    """

    name: str
    sha256: str
    training: dict[str, Any] = field(default_factory=dict)
    noise_seeds: tuple[int, ...] = ()
    labels: str = "any"


class Sampler(ABC):
    """Turns noise into images. Subclass it, give it a `card`, and register the class (entry-point group `bench.samplers`)."""

    card: Card

    @abstractmethod
    def sample(
        self,
        denoiser: Denoiser,
        noise: Tensor,
        *,
        steps: int,
        labels: Tensor | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        """Images in [-1, 1] (not clamped) for standard normal `noise`, both [B, C, H, W].

        Args:
            denoiser: the teacher, whose probability-flow ODE a solver integrates; a student may ignore it.
            noise: standard normal; dtype and device are followed.
            steps: sampler steps, each at least one network call.
            labels: int64 [B] classes, or None.
            callback: told of every step.

        Raises:
            UserError: steps that this sampler cannot take, or noise of another shape than the denoiser's.
        """

    def prepare(  # noqa: B027 (a solver has nothing to do)
        self, denoiser: Denoiser, device: torch.device | str, steps: int
    ) -> None:
        """Load what the sampler needs for so many steps of this teacher on this device.

        The harness calls it once for each cell, before anything is measured.

        Raises:
            UserError: no student for this teacher or these steps, or files that cannot be used.
        """

    def levels(self, denoiser: Denoiser, steps: int) -> list[float]:
        """The noise levels of a run of so many steps, falling, the last the end; [] of a sampler without such."""
        return []

    def networks(self) -> list[nn.Module]:
        """Networks of the sampler's own (a student's), so that the harness counts their calls too; known once prepared.

        A call's forwards (evaluations of one image each) are the batch size of its first tensor, unless the network has a
        method `evaluations(args, kwargs) -> int` that says so, as one that decodes M points of a path in a call must.
        """
        return []

    def stages(self) -> dict[str, list[nn.Module]]:
        """The parts of its network to profile, by name: modules that do not contain one another; known once prepared."""
        return {}

    @property
    def student(self) -> Student | None:
        """The trained network it carries; None for a solver, or before `prepare`."""
        return None


def check(card: Card, denoiser: Denoiser, noise: Tensor, steps: int) -> None:
    """Refuse steps that a sampler cannot take and noise that a denoiser cannot use.

    Raises:
        UserError: either of them.
    """
    if steps < 1 or (card.steps is not None and steps not in card.steps):
        can = "any number from 1 on" if card.steps is None else ", ".join(map(str, card.steps))
        raise UserError(f"{card.name} cannot take {steps} steps; it takes {can}")
    if tuple(noise.shape[1:]) != tuple(denoiser.shape):
        raise UserError(f"noise has shape {tuple(noise.shape)}, the denoiser needs (B, {', '.join(map(str, denoiser.shape))})")
