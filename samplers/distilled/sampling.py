"""The samplers `progressive`, `consistency` and `consistency_training`."""

import math
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from samplers.denoiser import Denoiser
from samplers.distilled.consistency import ConsistencyFunction, nodes
from samplers.distilled.loading import KIND, load_student
from samplers.errors import unknown
from samplers.models.unet_teacher import UNetTeacher
from samplers.models.zoo import ZooEntry
from samplers.noises import FreshNoise
from samplers.protocol import Callback, Card
from samplers.schedule import GRIDS
from samplers.solvers.euler import DDIM
from samplers.students import StudentSampler


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
        assert self._denoiser is not None
        return DDIM().sample(self._denoiser, noise, steps=steps, labels=labels, callback=callback)


class Consistency(DistilledSampler):
    """Song et al., arXiv 2303.01469, algorithm 1: noise to image in one call; with more, re-noised and mapped again.

    x = f(sigma_max z, sigma_max), then for each further level s: x = f(x + sqrt(s^2 - sigma_min^2) z', s)

    z' is fresh noise that depends on the image's own z and the step alone, so that no image depends on its batch.

    Args:
        student: as for every sampler with one.
        grid: of the levels that it is re-noised to.
    """

    card = Card(
        name="consistency",
        family="consistency",
        paper="Song et al. 2023, arXiv 2303.01469",
        order=None,
        deterministic=False,
        noise_from=2,
        grid="uniform_t",
        training=True,
        note="trained: any point of a path to its end in one call; more calls re-noise the image and map it again",
    )

    def __init__(self, *, student: str = "", grid: str = "uniform_t"):
        super().__init__(student=student)
        if grid not in GRIDS:
            raise unknown("grid", grid, GRIDS)
        self.grid = grid

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
        assert self._denoiser is not None
        f, low = ConsistencyFunction(self._denoiser), self._denoiser.sigma_min
        levels = [*reversed(nodes(self._denoiser.schedule, steps, self.grid).tolist()[1:]), 0.0]
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
        grid="uniform_t",
        training=True,
        note="trained on images, without the teacher's steps: from its weights, as easy consistency tuning does",
    )
