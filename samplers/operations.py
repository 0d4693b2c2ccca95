"""Operations counted as PyTorch dispatches them: how many, which the host must wait for, and the bytes alive at once."""

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

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
