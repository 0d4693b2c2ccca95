"""The time points of a trajectory, and the weight of each in the loss."""

from collections.abc import Callable, Sequence

from samplers.errors import UserError, unknown
from samplers.schedule import Cosine

TIME_GRIDS: dict[str, Callable[[float], float]] = {"quadratic": lambda u: u * u, "uniform": lambda u: u}
"""How a time grid bends: t_i as a function of i / M. The paper: quadratic for CIFAR-10, uniform for ImageNet-64."""

LARGEST_WEIGHT = 1e4


def time_points(grid: str, points: int) -> list[float]:
    """The M = `points` times that the network predicts, t in [0, 1], from high noise down to t = 0 (the image).

    t = 1 is the input noise and not predicted: quadratic, M = 4 gives 0.5625, 0.25, 0.0625, 0.

    Raises:
        UserError: an unknown grid, or no points.
    """
    if grid not in TIME_GRIDS:
        raise unknown("time grid", grid, TIME_GRIDS)
    if points < 1:
        raise UserError(f"a time grid needs at least 1 point, got {points}")
    return [TIME_GRIDS[grid](i / points) for i in reversed(range(points))]


def loss_weights(schedule: Cosine, times: Sequence[float], kind: str = "snr") -> list[float]:
    """The weight of each time: "snr" for clip(alpha / sigma, 1, 1e4), where an error in x0 counts as the error in eps that it
    makes (the published one); "flat" for 1.

    Raises:
        UserError: another word.
    """
    if kind not in ("snr", "flat"):
        raise unknown("weights", kind, ("snr", "flat"))
    return [1.0 if kind == "flat" else min(max(1 / schedule.sigma(t), 1.0), LARGEST_WEIGHT) for t in times]
