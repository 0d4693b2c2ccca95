"""A time grid made for a teacher, from the geometry of its paths: GITS, Chen et al., arXiv 2405.11326.

On a fine grid of M intervals the teacher's paths x_0 .. x_M are solved for some noises. What an Euler step from node i to node
j costs is how much further from the straight line between the ends of the path it lands than the path itself is there:

    c_ij = mean over noises of  dist(x_i + (s_j - s_i) eps_i) - dist(x_j)

A run of K steps takes the nodes with the smallest sum of costs, each later one weighted by a further factor GAMMA, found by
dynamic programming. Fine grid, solver, noises and GAMMA are the authors'.
"""

import contextlib
import hashlib
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from samplers.cache import cache_folder
from samplers.denoiser import Denoiser, schedule_of
from samplers.errors import UserError
from samplers.models.weights import load_tensors, save_tensors
from samplers.noises import labels, noise
from samplers.protocol import Student
from samplers.schedule import GITS, Schedule, spaced

INTERVALS, FINE = 60, "karras"
"""Of the fine grid: how many, and how spaced."""
SOLVER = "ipndm"
GAMMA = 1.15
NOISES, SEED, BATCH = 256, 240511326, 64
"""Noises of the paths; nothing that is scored may be made of that seed."""


@dataclass(frozen=True)
class TeacherGrid:
    """The costs of a teacher's fine grid.

    Attributes:
        schedule: of the teacher.
        sha256: of the teacher; None of one without.
        low: the last node.
        costs: [M + 1, M + 1], infinite where no step leads.
        seconds: that the paths took; device: where.
    """

    schedule: Schedule
    sha256: str | None
    low: float
    costs: np.ndarray
    seconds: float
    device: str

    def fits(self, denoiser: Denoiser, low: float) -> bool:
        """Whether it is of this denoiser, as far as schedule and hash tell, down to this level."""
        return (self.schedule, self.sha256, self.low) == (schedule_of(denoiser), getattr(denoiser, "sha256", None), low)

    def levels(self, intervals: int) -> list[float]:
        """The K + 1 noise levels of K intervals, from sigma_max to `low`.

        Raises:
            UserError: more intervals than the fine grid has.
        """
        fine = spaced(self.schedule, INTERVALS, FINE, self.low)
        return [fine[k] for k in nodes(self.costs, intervals)]

    @property
    def training(self) -> Student:
        """What making it took, as records tell of trainings."""
        cost = {"student_forwards": 0, "teacher_forwards": INTERVALS * NOISES, "seconds": self.seconds}
        told: dict[str, Any] = {"seconds": self.seconds, "device": self.device, "images": NOISES, "cost": cost}
        return Student(GITS, hashlib.sha256(self.costs.tobytes()).hexdigest(), told, (SEED,))


def nodes(costs: np.ndarray, steps: int) -> list[int]:
    """The K + 1 nodes from 0 to M of the cheapest K steps: V_k(i) = min_j c_ij + GAMMA V_{k-1}(j), V_1(i) = c_iM.

    Raises:
        UserError: more steps than there are intervals.
    """
    if steps > len(costs) - 1:
        raise UserError(f"grid {GITS} has at most {len(costs) - 1} steps between levels, not {steps}; choose another grid")
    value, chosen = costs[:, -1], list[np.ndarray]()
    for _ in range(steps - 1):
        through = costs + GAMMA * value[None, :]
        through[:, -1] = np.inf  # only the last step ends there
        chosen.append(through.argmin(1))
        value = through.min(1)
    found = [0]
    for best in reversed(chosen):
        found.append(int(best[found[-1]]))
    return [*found, len(costs) - 1] if steps else found


def teacher_grid(denoiser: Denoiser, low: float) -> TeacherGrid:
    """The costs of a denoiser's fine grid down to a level, from the cache where they are there.

    Args:
        denoiser: a teacher with a hash is cached by that; classes are balanced.
        low: the last node.
    """
    schedule, sha256 = schedule_of(denoiser), getattr(denoiser, "sha256", None)
    weights: Any = getattr(denoiser, "parameters", tuple)()
    device = next((p.device for p in weights), torch.device("cpu"))
    where = str(device)
    key = hashlib.sha256(repr((sha256, low, denoiser.sigma_max, where, NOISES, SEED)).encode()).hexdigest()[:24]
    path = cache_folder() / f"gits-{key}.safetensors"
    if sha256 is not None and path.exists():
        with contextlib.suppress(UserError, KeyError, TypeError):  # a damaged cache is made again
            tensors, info = load_tensors(path)
            costs, seconds = _forwards(tensors["costs"].numpy()), float(info["seconds"])
            return TeacherGrid(schedule, sha256, low, costs, seconds, where)
    begin = time.perf_counter()
    costs = _costs(denoiser, spaced(schedule, INTERVALS, FINE, low), device)
    seconds = time.perf_counter() - begin
    if sha256 is not None:
        with contextlib.suppress(UserError):  # one that cannot be written costs time, not the run
            save_tensors(path, {"costs": torch.from_numpy(costs)}, {"seconds": seconds})
    return TeacherGrid(schedule, sha256, low, _forwards(costs), seconds, where)


def _forwards(costs: np.ndarray) -> np.ndarray:
    """Costs with infinite ones where no step leads."""
    return np.where(np.triu(np.ones_like(costs), 1) > 0, costs, np.inf)


@torch.no_grad()
def _costs(denoiser: Denoiser, levels: list[float], device: torch.device) -> np.ndarray:
    """c_ij of the paths of all noises, 0 where j <= i."""
    total = torch.zeros(len(levels), len(levels), dtype=torch.float64)
    for first in range(0, NOISES, BATCH):
        part = range(first, min(first + BATCH, NOISES))
        z, classes = noise(SEED, part, denoiser.shape, device=device), labels(part, denoiser.num_classes, device=device)
        total += _summed(*_path(denoiser, z, classes, levels), levels)
    return (total / NOISES).numpy()


def _path(denoiser: Denoiser, z: Tensor, classes: Tensor | None, levels: list[float]) -> tuple[Tensor, Tensor]:
    """States [M + 1, B, D] at all levels, and eps [M, B, D] at all but the last, in float64."""
    from samplers.solvers.adams import IPNDM4

    states, eps = [z * levels[0]], list[Tensor]()

    def keep(i: int, t: float, x: Tensor, denoised: Tensor) -> None:
        eps.append((states[-1] - denoised) / levels[i])
        states.append(x)

    IPNDM4().integrate(denoiser, z, levels, labels=classes, callback=keep)
    return torch.stack(states).flatten(2).double().cpu(), torch.stack(eps).flatten(2).double().cpu()


def _summed(x: Tensor, eps: Tensor, levels: list[float]) -> Tensor:
    """c_ij summed over noises. With w = x_i - x_M and h = s_j - s_i, |w + h eps|^2 and its part along the line are known from
    four products for each node, so no step has to be made."""
    w = x - x[-1]
    line = w[0] / w[0].norm(dim=1, keepdim=True)
    own = (w.square().sum(2) - (w * line).sum(2) ** 2).clamp(min=0).sqrt()  # [M + 1, B], how far the path is from the line
    w = w[:-1]
    a, b, e = w.square().sum(2), (w * eps).sum(2), eps.square().sum(2)
    p, q = (w * line).sum(2), (eps * line).sum(2)  # [M, B] each
    found = torch.zeros(len(levels), len(levels), dtype=torch.float64)
    for j in range(1, len(levels)):
        h = torch.tensor([levels[j] - s for s in levels[:j]], dtype=torch.float64)[:, None]
        square = a[:j] + 2 * h * b[:j] + h**2 * e[:j] - (p[:j] + h * q[:j]) ** 2
        found[:j, j] = (square.clamp(min=0).sqrt() - own[j]).sum(1)
    return found
