"""The samplers `progressive`, `consistency` and `consistency_training`."""

import math
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from samplers.denoiser import Denoiser
from samplers.distilled.consistency import ConsistencyFunction
from samplers.distilled.loading import KIND, load_student
from samplers.errors import unknown
from samplers.models.unet_teacher import UNetTeacher
from samplers.models.zoo import ZooEntry
from samplers.noises import FreshNoise
from samplers.protocol import Callback, Card
from samplers.schedule import GRIDS, sigmas
from samplers.solvers.euler import DDIM
from samplers.students import StudentSampler

RENOISED = (
    "levels in equal steps of log sigma from sigma_max to 1, near the second level of the papers' two-step figures "
    "(0.82 in arXiv 2310.14189 for small images, 1.4 in the code of 2303.01469); the papers search them"
)


class DistilledSampler(StudentSampler):
    """A sampler whose student is the teacher's network with other weights, a denoiser itself."""

    kind = KIND
    folder = Path(__file__).parent / "zoo"

    def __init__(self, *, student: str = ""):
        super().__init__(student=student)
        self._denoiser: UNetTeacher | None = None

    def load(self, entry: ZooEntry, device: torch.device) -> tuple[int, int, int]:
        self._denoiser = load_student(entry, device)
        return self._denoiser.shape

    @property
    def own(self) -> UNetTeacher:
        """The student as a denoiser, once it is loaded."""
        assert self._denoiser is not None
        return self._denoiser

    def networks(self) -> list[nn.Module]:
        return [] if self._denoiser is None else [self._denoiser.network]


class Progressive(DistilledSampler):
    """Salimans & Ho, arXiv 2202.00512: N steps of DDIM by the student that learned to take N steps for its teacher's 2 N."""

    card = Card(
        name="progressive",
        family="progressive",
        paper="Salimans & Ho 2022, arXiv 2202.00512",
        order=None,
        training=True,
        steps=(1, 2, 4, 8),
        note="trained: a student for each number of steps, which it takes as DDIM does",
        setting="the steps that it was trained for: equal ones of the teacher's own time, the last to 0",
    )

    def sample(
        self,
        denoiser: Denoiser,
        noise: Tensor,
        *,
        steps: int,
        labels: Tensor | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        self.ready(denoiser, noise, steps, labels)
        levels = sigmas(self.own.schedule, steps, "uniform_t")  # the rungs' own, wherever else sampling may end
        return DDIM().integrate(self.own, noise, levels, labels=labels, callback=callback)


class Consistency(DistilledSampler):
    """Song et al., arXiv 2303.01469, algorithm 1: noise to image in one call; with more, re-noised and mapped again.

    x = f(sigma_max z, sigma_max), then for each further level s: x = f(x + sqrt(s^2 - sigma_min^2) z', s)

    z' is fresh noise that depends on the image's own z and the step alone, so that no image depends on its batch. The levels
    are a setting, which the paper searches for each model.

    Args:
        student: as for every sampler with one.
        grid: of the levels that it is re-noised to, from sigma_max down.
        end: the lowest of them, instead of the card's.
    """

    card = Card(
        name="consistency",
        family="consistency",
        paper="Song et al. 2023, arXiv 2303.01469",
        order=None,
        deterministic=False,
        noise_from=2,
        grid="logsnr",
        end=lambda n: 1.0,
        training=True,
        setting=RENOISED,
        note="trained: any point of a path to its end in one call; more calls re-noise the image and map it again",
    )

    def __init__(self, *, student: str = "", grid: str = "logsnr", end: float | None = None):
        super().__init__(student=student)
        if grid not in GRIDS:
            raise unknown("grid", grid, GRIDS)
        self.grid, self.end = grid, end

    def load(self, entry: ZooEntry, device: torch.device) -> tuple[int, int, int]:
        shape = super().load(entry, device)
        self.levels(self.own, 2)  # refuses an end that the student does not have
        return shape

    def levels(self, denoiser: Denoiser, steps: int) -> list[float]:
        """Where f is evaluated, `steps` levels, and 0; once the student is loaded.

        Raises:
            UserError: an end that it does not have.
        """
        end = max(self.card.end(steps), self.own.sigma_min) if self.end is None and self.card.end else self.end
        return sigmas(self.own.schedule, steps, self.grid, end=end)

    def sample(
        self,
        denoiser: Denoiser,
        noise: Tensor,
        *,
        steps: int,
        labels: Tensor | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        self.ready(denoiser, noise, steps, labels)
        f, low, levels = ConsistencyFunction(self.own), self.own.sigma_min, self.levels(denoiser, steps)
        fresh = FreshNoise(noise) if steps > 1 else None
        x = levels[0] * noise
        for i, (s, t) in enumerate(pairwise(levels)):
            image = f(x, s, labels)
            x = image if fresh is None or t == 0 else image + math.sqrt(max(t * t - low * low, 0.0)) * fresh(i)
            if callback is not None:
                callback(i, t, x, image)
        return x


class ConsistencyTraining(Consistency):
    """Song et al., arXiv 2303.01469, algorithm 3, from the teacher's weights (arXiv 2406.14548): learned from images alone."""

    card = Card(
        name="consistency_training",
        family="consistency",
        paper="Song et al. 2023, arXiv 2303.01469",
        order=None,
        deterministic=False,
        noise_from=2,
        grid="logsnr",
        end=lambda n: 1.0,
        training=True,
        setting=RENOISED,
        note="trained on images, without the teacher's steps: from its weights, as easy consistency tuning does",
    )
