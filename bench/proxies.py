"""Speed without a clock: what a pass does, counted exactly, the same on every machine and at any load.

One more elementwise operation a step, one more network call or one copy to the host is seen here, in a few milliseconds.
A count says that the work changed, not by how much the time did: that is for the paired clock.
"""

import math
import weakref
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.verdicts import Row

BATCH = 2
"""Images of a counted pass."""
PROBES = 16
"""Random projections that stand for an image."""
TOLERANCE = 2e-3
"""How far a projection (of images of unit size) may move before the images count as others: float32 in another order moves it
by less than 1e-4, a wrong coefficient by far more."""
BYTES_TOLERANCE = 0.01
"""Peak bytes may grow by so much."""

_SYNCHRONISING = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
    torch.ops.aten.is_nonzero.default,
    torch.ops.aten.equal.default,
}
"""Operations whose result the host waits for: Tensor.item(), float(tensor), a branch on a tensor, boolean indexing."""
_COPIES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
"""Between host and device they wait too, in either direction, unless one to the device was asked not to."""


class Operations(TorchDispatchMode):
    """Counts what is dispatched while it is active.

    Attributes:
        operators: aten operations; on a GPU about the kernels launched.
        synchronisations: operations that the host must wait for, were this a GPU.
        peak_bytes: most bytes of tensors made in here that were alive at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operators = self.synchronisations = self.peak_bytes = 0
        self._bytes = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.operators += 1
        made = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        if func in _SYNCHRONISING or (func in _COPIES and _crosses(args, kwargs or {}, made)) or _by_mask(func, args):
            self.synchronisations += 1
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        for t in made:
            self._watch(t.untyped_storage(), given)
        return out

    def _watch(self, storage: torch.UntypedStorage, given: set[int]) -> None:
        """Count a storage until it dies; one that an argument has is not new (a view, an operation in place)."""
        key = storage._cdata
        if key in self._known or key in given:
            return
        size = storage.nbytes()
        self._known.add(key)
        self._bytes += size
        self.peak_bytes = max(self.peak_bytes, self._bytes)
        weakref.finalize(storage, self._died, key, size)

    def _died(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._bytes -= size


def _by_mask(func: Any, args: tuple) -> bool:
    """Whether an indexing asks for the elements that a mask selects, whose number the host must learn."""
    return func == torch.ops.aten.index.Tensor and any(i is not None and i.dtype == torch.bool for i in args[1])


def _crosses(args: tuple, kwargs: dict, made: list[Tensor]) -> bool:
    """Whether a copy from its last tensor argument goes from a device to the host, or from there and is waited for."""
    source, target = [a.device.type for a in args if isinstance(a, Tensor)][-1], made[0].device.type
    waits = not (kwargs.get("non_blocking") or args[-1] is True)  # of copy_(target, source, non_blocking)
    return source != target and (target == "cpu" or (source == "cpu" and waits))


@dataclass(frozen=True)
class Proxies:
    """What one pass on BATCH images did, and the images it made as PROBES random projections each."""

    calls: int
    forwards: int
    flops: int
    operators: int
    synchronisations: int
    peak_bytes: int
    images: list[list[float]]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


EXACT = ("calls", "forwards", "flops", "operators", "synchronisations")


def project(images: Tensor) -> list[list[float]]:
    """Images [B, C, H, W] as [B, PROBES] numbers: products with fixed random directions, of the size of the images' RMS."""
    flat = images.flatten(1).double().cpu()  # [B, C H W]
    directions = torch.randn(flat.shape[1], PROBES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return [[round(v, 5) for v in row] for row in (flat @ directions / math.sqrt(flat.shape[1])).tolist()]


def compare(cell: str, a: Proxies, b: Proxies) -> list[Row]:
    """A row a proxy, of `b` against `a`: less, more or same; images same or wrong. Both were counted by one PyTorch."""
    rows = []
    for key in EXACT:
        x, y = getattr(a, key), getattr(b, key)
        verdict = "same" if x == y else "more" if y > x else "less"
        rows.append(Row(cell, key, f"{x:,}", f"{y:,}", verdict, "" if x == y else _change(x, y)))
    x, y = a.peak_bytes, b.peak_bytes
    verdict = "more" if y > x * (1 + BYTES_TOLERANCE) else "less" if y < x * (1 - BYTES_TOLERANCE) else "same"
    rows.append(Row(cell, "peak_bytes", f"{x:,}", f"{y:,}", verdict, "" if verdict == "same" else _change(x, y)))
    worst = _distance(a.images, b.images)
    right = worst <= TOLERANCE
    note = "" if right else f"other images: projections differ by {worst:.2g}, allowed {TOLERANCE:g}"
    rows.append(Row(cell, "images", "", "", "same" if right else "wrong", note))
    return rows


def _change(x: int, y: int) -> str:
    return f"{y - x:+,}" + (f" ({(y / x - 1) * 100:+.1f} %)" if x else "")


def _distance(a: list[list[float]], b: list[list[float]]) -> float:
    """Largest difference of projections; infinite for NaN or another number of images."""
    x, y = torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    if x.shape != y.shape or not (torch.isfinite(x).all() and torch.isfinite(y).all()):
        return math.inf
    return float((x - y).abs().max())
