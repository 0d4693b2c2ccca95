"""A solver fitted to its teacher: S4S, Frankel et al., arXiv 2502.17423."""

import contextlib
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samplers.cache import cache_folder
from samplers.denoiser import Denoiser, end_of, schedule_of
from samplers.errors import UserError
from samplers.models.weights import load_tensors, save_tensors
from samplers.noises import labels, noise
from samplers.protocol import Card, Student
from samplers.schedule import GITS, GRIDS, Schedule, sigmas
from samplers.solvers.base import Solver, Walk
from samplers.solvers.s4s_fitting import PAST, Method, fitted, second_order, step
from samplers.solvers.settings import S4S as SETTING
from samplers.solvers.unipc import UniPC

NAME = "s4s"
NOISES, SEED = 64, 250217423
"""Noises of the fit; nothing that is scored may be made of that seed."""
TARGET, TARGET_GRID = 60, "logsnr"
"""Steps of UniPC, and their grid, that end points are made with."""
MOST = 10
"""Steps: more are near the teacher's solution without a fit, and cost more to fit."""


@dataclass(frozen=True)
class Fit:
    """A method and the teacher that it was fitted to.

    Attributes:
        method: levels and weights.
        teacher: its schedule and hash, which is None of one without.
        forwards, seconds: that it took, the end points' included; device: where.
        error: relative RMSE to the end points that it was left with.
    """

    method: Method
    teacher: tuple[Schedule, str | None]
    forwards: int
    seconds: float
    device: str
    error: float

    @property
    def training(self) -> Student:
        """What making it took, as records tell of trainings."""
        cost = {"student_forwards": 0, "teacher_forwards": self.forwards, "seconds": self.seconds}
        told: dict[str, Any] = {"seconds": self.seconds, "device": self.device, "images": NOISES, "cost": cost}
        return Student(NAME, hashlib.sha256(repr(self.method).encode()).hexdigest(), told, (SEED,))


class S4S(Solver):
    """A multistep solver whose noise levels and weights are those that come nearest to the teacher's own solution.

    x_t = (t / s) x + (1 - t / s) (D + sum_j c_j (D_j - D)), D_j the last PAST values

    Inner levels and c_j are fitted at once, for each number of steps, to the end points of a converged solution from the same
    noises: the paper's S4S-Alt, which alternates between the two. With a `grid` the c_j alone are: its S4S. The fit begins at
    DPM-Solver++(2M) on the best of our grids.

    Where we leave the paper: the distance is the squared error, no features of a network (they take LPIPS); the noises are the
    very same (they let the student start anywhere within a small radius, which helps a metric of distributions and not the
    distance to the teacher's image); the minimum is found by least squares, not by gradients through the network.

    Args:
        grid: noise levels to keep, one of `samplers.schedule.GRIDS`; by default they are fitted too.
        end, last: as of every solver.
    """

    card = Card(
        name=NAME,
        family=NAME,
        paper="Frankel et al. 2025, arXiv 2502.17423",
        order=None,
        last="stop",
        steps=tuple(range(1, MOST + 1)),
        fitted=True,
        note="multistep, one call a step; levels and weights fitted to the teacher, which takes some ten thousand forwards",
        setting=SETTING,
    )

    def __init__(self, *, grid: str | None = None, end: float | None = None, last: str | None = None):
        if grid == GITS:
            raise UserError(f"{NAME} fits its own grid to the teacher; leave out grid={GITS}")
        super().__init__(grid=grid, end=end, last=last)
        self.fixed, self.grid = grid is not None, grid or NAME
        self._fits: dict[int, Fit] = {}

    def levels(self, denoiser: Denoiser, steps: int) -> list[float]:
        """Those of the fit to this denoiser, which is made where there is none yet.

        Raises:
            UserError: more steps than it takes, or an end that is too low or too high.
        """
        if steps not in (self.card.steps or ()):
            raise UserError(f"{NAME} cannot take {steps} steps; it takes 1 to {MOST}")
        teacher, fit = _identity(denoiser), self._fits.get(steps)
        if fit is None or fit.teacher != teacher:
            if any(f.teacher != teacher for f in self._fits.values()):
                self._fits.clear()
            fit = self._fits[steps] = self._fit(denoiser, steps)
        self._made = fit
        return list(fit.method.levels)

    @property
    def student(self) -> Student | None:
        return None if not self._fits else self._made.training

    def step(self, walk: Walk, t: float) -> Tensor:
        fit = self._fits.get(walk.steps)
        if fit is None or fit.method.levels != tuple(walk.levels):
            raise UserError(f"{NAME} walks over the levels that it was fitted on, no others")
        return step(fit.method, walk.done, walk.points[-1].x, [p.denoised for p in walk.points][-1 - PAST :])

    def _fit(self, denoiser: Denoiser, steps: int) -> Fit:
        """From the cache, where it is kept by the teacher's hash and all that it depends on."""
        schedule, sha256 = teacher = _identity(denoiser)
        grids, lowest = [self.grid] if self.fixed else list(GRIDS), end_of(denoiser)
        starts = [second_order(sigmas(schedule, steps, g, end=self.end, last=self.last, lowest=lowest)) for g in grids]
        between = range(1, steps if self.last == "stop" or self.end is None else steps - 1)
        weights: Any = getattr(denoiser, "parameters", tuple)()
        device = next((p.device for p in weights), torch.device("cpu"))
        told = (sha256, starts, self.fixed, self.end, self.last, lowest, str(device), NOISES, SEED, TARGET)
        path = cache_folder() / f"{NAME}-{hashlib.sha256(repr(told).encode()).hexdigest()[:24]}.safetensors"
        if sha256 is not None and path.exists():
            with contextlib.suppress(UserError, KeyError, TypeError, ValueError):  # a damaged cache is made again
                return _read(path, teacher)
        fit = _made(denoiser, starts, () if self.fixed else between, device)
        if sha256 is not None:
            with contextlib.suppress(UserError):  # one that cannot be written costs time, not the run
                _write(path, fit)
        return fit


def _identity(denoiser: Denoiser) -> tuple[Schedule, str | None]:
    return schedule_of(denoiser), getattr(denoiser, "sha256", None)


def _made(denoiser: Denoiser, starts: Sequence[Method], free: Sequence[int], device: torch.device) -> Fit:
    begin, lowest = time.perf_counter(), end_of(denoiser)
    z = noise(SEED, range(NOISES), denoiser.shape, device=device)
    classes, forwards = labels(range(NOISES), denoiser.num_classes, device=device), TARGET * NOISES
    nodes = sigmas(schedule_of(denoiser), TARGET, TARGET_GRID, lowest=lowest)
    with torch.no_grad():
        target = UniPC().integrate(denoiser, z, nodes, labels=classes)

    def model(x: Tensor, sigma: float) -> Tensor:
        nonlocal forwards
        forwards += len(x)
        return denoiser(x, sigma, classes)

    method, error = fitted(starts, model, z, target, free=free, lowest=lowest)
    return Fit(method, _identity(denoiser), forwards, time.perf_counter() - begin, str(device), error)


def _write(path: Path, fit: Fit) -> None:
    rows = [[*own, *[0.0] * (PAST - len(own))] for own in fit.method.weights]
    tensors = {
        "levels": torch.tensor(fit.method.levels, dtype=torch.float64),
        "weights": torch.tensor(rows, dtype=torch.float64),
    }
    save_tensors(path, tensors, {k: getattr(fit, k) for k in ("forwards", "seconds", "device", "error")})


def _read(path: Path, teacher: tuple[Schedule, str | None]) -> Fit:
    tensors, info = load_tensors(path)
    levels, rows = tensors["levels"].tolist(), tensors["weights"].tolist()
    method = Method(tuple(levels), tuple(tuple(row[: min(i, PAST)]) for i, row in enumerate(rows)))
    return Fit(method, teacher, int(info["forwards"]), float(info["seconds"]), str(info["device"]), float(info["error"]))
