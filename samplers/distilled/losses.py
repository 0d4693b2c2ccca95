"""Distances between a student's images and what it learns from."""

import math
from collections.abc import Callable

from torch import Tensor


def pseudo_huber(a: Tensor, b: Tensor) -> Tensor:
    """sqrt(||a - b||^2 + c^2) - c for each image, [B], c = 0.00054 sqrt(C H W) (arXiv 2310.14189, section 3.3)."""
    c = 0.00054 * math.sqrt(a[0].numel())
    return ((a - b).square().sum(dim=(1, 2, 3)) + c * c).sqrt() - c


def squared(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference of each image, [B]."""
    return (a - b).square().mean(dim=(1, 2, 3))


METRICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"pseudo_huber": pseudo_huber, "l2": squared}
