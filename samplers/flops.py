"""FLOPs as PyTorch counts them while it computes: 2 a multiply-add, 8 a complex one; of nothing else."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, flop_registry


def _complex_aware(name: str) -> Callable:
    """A matrix product's FLOPs, 8 a complex multiply-add: PyTorch's counter takes it for a real one's 2."""
    formula = flop_registry[getattr(torch.ops.aten, name)]

    def count(*args: Any, **kwargs: Any) -> int:
        factor = 4 if any(isinstance(a, Tensor) and a.is_complex() for a in args) else 1
        return factor * formula(*args, **kwargs)

    count._get_raw = True  # type: ignore[attr-defined] # the counter then hands over tensors, not shapes
    return count


COMPLEX_AWARE = {getattr(torch.ops.aten, name): _complex_aware(name) for name in ("mm", "addmm", "bmm", "baddbmm")}


def counting() -> FlopCounterMode:
    """A counter to work in (`with counting() as c`), gradients included; `c.get_total_flops()` tells.

    Elementwise operations and Fourier transforms are not counted.
    """
    return FlopCounterMode(display=False, custom_mapping=COMPLEX_AWARE)


def flops(run: Callable, *args: Any, **kwargs: Any) -> int:
    """FLOPs of `run(*args, **kwargs)`, without gradients."""
    with torch.no_grad(), counting() as counter:
        run(*args, **kwargs)
    return counter.get_total_flops()
