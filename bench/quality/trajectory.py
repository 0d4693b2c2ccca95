"""Paired trajectory error: how far a sampler's images are from the converged solution of the same ODE, noise by noise.

It separates what the solver does from how good the model is, needs few images, and shows the order of a method as a slope.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import samplers
from bench.quality.frechet import Z
from samplers.denoiser import end_of
from samplers.errors import UserError
from samplers.models.teacher import Teacher
from samplers.models.weights import load_tensors, save_tensors
from samplers.solvers.paths import levels_through, path_of
from samplers.solvers.unipc import UniPC

GRID, STEPS = "logsnr", 200
"""Of the levels down to where the teacher's sampling may end; from there a call goes to 0."""
SOLVER = f"unipc:grid={GRID}"
"""What records call it. It is not looked up by that name, which is the registry's to give."""
BATCH = 64


@dataclass(frozen=True)
class Converged:
    """Images [T, C, H, W] of the converged solution for the first T noises, and its own error against half the steps."""

    images: Tensor
    error: float
    description: str

    def squared_error(self, images: Tensor, start: int) -> np.ndarray:
        """Mean squared error of each image, for images numbered from `start` on; [B'] of those that have a converged one."""
        theirs = self.images[start : start + len(images)].to(images)
        return (images[: len(theirs)] - theirs).square().mean(dim=(1, 2, 3)).double().cpu().numpy()


def relative_rmse(squared_errors: np.ndarray, reference: Converged) -> dict[str, Any]:
    """Root of the mean squared error over the mean square of the converged images, with a 95 % interval (delta method)."""
    scale, n = float(reference.images.double().square().mean()), len(squared_errors)
    mean = float(squared_errors.mean())
    value = (mean / scale) ** 0.5
    half = Z * float(squared_errors.std(ddof=1)) / n**0.5 / (2 * max(value, 1e-12) * scale) if n > 1 else None
    return {
        "value": value,
        "ci_low": None if half is None else max(value - half, 0.0),
        "ci_high": None if half is None else value + half,
        "n": n,
        "reference": reference.description,
        "reference_error": reference.error,
    }


@torch.no_grad()
def converged(
    teacher: Teacher, noise: Tensor, labels: Tensor | None, seed: int, advance: Callable[[int], None], cache: Path
) -> tuple[Converged, float]:
    """The converged solution for `noise` [T, C, H, W], from `cache` where it is there, and the seconds its network took.

    Args:
        teacher: the denoiser; its hash is part of the cache's key.
        noise: of images 0 .. T - 1 of `seed`.
        labels: [T] or None.
        seed: for the cache's key.
        advance: told of the number of network evaluations after each batch.
        cache: folder to keep it in.
    """
    description = f"{SOLVER}, {STEPS} steps" + ("" if end_of(teacher) == teacher.sigma_min else f" to {end_of(teacher):g}")
    given = [teacher.sha256, seed, len(noise), labels is not None, description, str(noise.device.type)]
    key = hashlib.sha256(repr(given).encode()).hexdigest()[:24]
    path = cache / f"converged-{key}.safetensors"
    if path.exists():
        try:
            tensors, info = load_tensors(path)
            return Converged(tensors["images"].to(noise.device), info["error"], description), 0.0
        except (UserError, KeyError):
            pass  # a damaged cache is made again
    begin = time.perf_counter()
    fine, coarse = (_solve(teacher, noise, labels, n, advance) for n in (STEPS, STEPS // 2))
    seconds = time.perf_counter() - begin
    error = float(((fine - coarse).double().square().mean() / fine.double().square().mean()).sqrt())
    with contextlib.suppress(UserError):  # a cache that cannot be written costs time, not the run
        save_tensors(path, {"images": fine}, {"error": error})
    return Converged(fine, error, description), seconds


def true_path(teacher: Teacher, noise: Tensor, labels: Tensor | None, levels: Sequence[float]) -> Tensor:
    """The teacher's x0-prediction [B, L, C, H, W] where the converged path from `noise` passes `levels` (0: the image)."""
    return path_of(UniPC(grid=GRID), teacher, noise, levels_through(_levels(teacher, STEPS), levels), levels, labels=labels)


def _levels(teacher: Teacher, steps: int) -> list[float]:
    return samplers.sigmas(teacher.schedule, steps, GRID, lowest=end_of(teacher))


def _solve(teacher: Teacher, noise: Tensor, labels: Tensor | None, steps: int, advance: Callable[[int], None]) -> Tensor:
    solver, images, levels = UniPC(grid=GRID), [], _levels(teacher, steps)
    for first in range(0, len(noise), BATCH):
        part = slice(first, first + BATCH)
        own = None if labels is None else labels[part]
        images.append(solver.integrate(teacher, noise[part], levels, labels=own))
        advance(len(images[-1]) * steps)
    return torch.cat(images)
