"""The path that a solver takes from noise to image, at chosen noise levels."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from samplers.denoiser import Denoiser
from samplers.solvers.base import Solver

TARGETS = ("x0", "state")


def levels_through(grid: Sequence[float], wanted: Sequence[float]) -> list[float]:
    """A solver's noise levels `grid` (N + 1 of them, the last 0), changed so that they contain the `wanted` ones.

    The node nearest to a wanted one (in log sigma) moves there; where it is itself a wanted one, or the start, a node is added.
    A wanted 0, the image, is always there.
    """
    inner, fixed = list(grid[1:-1]), set[float]()
    for level in wanted:
        if level == 0:
            continue
        nearest = min([*inner, grid[0]], key=lambda s: abs(math.log(s / level)))
        if nearest in inner and nearest not in fixed:
            inner.remove(nearest)
        inner.append(level)
        fixed.add(level)
    return [grid[0], *sorted(inner, reverse=True), 0.0]


@torch.no_grad()
def path_of(
    solver: Solver,
    denoiser: Denoiser,
    noise: Tensor,
    levels: Sequence[float],
    wanted: Sequence[float],
    *,
    target: str = "x0",
    labels: Tensor | None = None,
) -> Tensor:
    """Frames [B, T, C, H, W] of the solver's path from `noise` [B, C, H, W] at T `wanted` noise levels.

    Target "x0": the denoiser's prediction where the path passes; "state": the variance-preserving state x / sqrt(1 + sigma^2)
    there. At level 0 both are the solver's image.

    Args:
        levels: that the solver visits, containing every wanted one (see `levels_through`).
    """
    where = {levels.index(s): n for n, s in enumerate(wanted)}
    frames = noise.new_empty(len(noise), len(wanted), *noise.shape[1:])

    def keep(i: int, t: float, x: Tensor, denoised: Tensor) -> None:
        if target == "x0" and i in where:
            frames[:, where[i]] = denoised
        if (target == "state" or t == 0) and i + 1 in where:
            frames[:, where[i + 1]] = x / math.sqrt(1 + t * t)

    solver.integrate(denoiser, noise, levels, labels=labels, callback=keep)
    return frames
