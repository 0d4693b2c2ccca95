"""Speed without a clock: what a pass does, counted exactly, the same on every machine and at any load.

One more elementwise operation a step, one more network call or one copy to the host is seen here, in a few milliseconds.
A count says that the work changed, not by how much the time did: that is for the paired clock.
"""

import math
from typing import Annotated

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from bench.comparison.verdicts import Row

BATCH = 2
"""Images of a counted pass."""
PROBES = 16
"""Random projections that stand for an image."""
TOLERANCE = 2e-3
"""How far a projection (of images of unit size) may move before the images count as others: float32 in another order moves it
by less than 1e-4, a wrong coefficient by far more."""
BYTES_TOLERANCE = 0.01
"""Peak bytes may grow by so much."""
NOT_FINITE = "images are not finite (NaN or infinity)"

Count = Annotated[int, Field(ge=0, lt=2**63)]


class Work(BaseModel, frozen=True, strict=True, extra="forbid"):
    """What one pass on BATCH images did, and the images it made as PROBES random projections each."""

    calls: Count
    forwards: Count
    flops: Count
    operators: Count
    synchronisations: Count
    peak_bytes: Count
    images: Annotated[list[Annotated[list[float], Field(min_length=PROBES, max_length=PROBES)]], Field(min_length=1)]


EXACT = ("calls", "forwards", "flops", "operators", "synchronisations")


def project(images: Tensor) -> list[list[float]]:
    """Images [B, C, H, W] as [B, PROBES] numbers: products with fixed random directions, of the size of the images' RMS."""
    flat = images.flatten(1).double().cpu()  # [B, C H W]
    directions = torch.randn(flat.shape[1], PROBES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return [[round(v, 5) for v in row] for row in (flat @ directions / math.sqrt(flat.shape[1])).tolist()]


def compare_work(cell: str, a: Work, b: Work) -> list[Row]:
    """A row a proxy, of `b` against `a`: less, more or same; images same or wrong. Both were counted by one PyTorch.

    Images of `b` that are not finite are a fault of the whole cell, whatever is judged.
    """
    rows = []
    for key in EXACT:
        x, y = getattr(a, key), getattr(b, key)
        verdict = "same" if x == y else "more" if y > x else "less"
        rows.append(Row(cell, key, f"{x:,}", f"{y:,}", verdict, "" if x == y else _change(x, y)))
    x, y = a.peak_bytes, b.peak_bytes
    verdict = "more" if y > x * (1 + BYTES_TOLERANCE) else "less" if y < x * (1 - BYTES_TOLERANCE) else "same"
    rows.append(Row(cell, "peak_bytes", f"{x:,}", f"{y:,}", verdict, "" if verdict == "same" else _change(x, y)))
    if not finite(b.images):
        return [*rows, Row(cell, "cell", "", "", "wrong", NOT_FINITE)]
    worst = distance(a.images, b.images)
    right = worst <= TOLERANCE
    note = "" if right else f"other images: projections differ by {worst:.2g}, allowed {TOLERANCE:g}"
    rows.append(Row(cell, "images", "", "", "same" if right else "wrong", note))
    return rows


def _change(x: int, y: int) -> str:
    return f"{y - x:+,}" + (f" ({(y / x - 1) * 100:+.1f} %)" if x else "")


def finite(images: list[list[float]]) -> bool:
    """Whether projections hold neither NaN nor infinity, so that their images do not."""
    return all(math.isfinite(v) for row in images for v in row)


def distance(a: list[list[float]], b: list[list[float]]) -> float:
    """Largest difference of projections; infinite for NaN or another number of images."""
    x, y = torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    if x.shape != y.shape or not (finite(a) and finite(b)):
        return math.inf
    return float((x - y).abs().max())
