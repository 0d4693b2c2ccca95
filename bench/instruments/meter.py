"""Count what a sampler does, by wrapping every network it calls; nothing is declared."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from bench.instruments.clock import Clock, Span
from samplers import Denoiser, Sampler


@dataclass
class Count:
    """Calls, and forwards (one network evaluation of one image each), since the meter was reset."""

    calls: int = 0
    forwards: int = 0


class Meter:
    """A denoiser that counts, and times, the calls of the denoiser it wraps.

    The time inside network calls comes from the very run whose total is taken, so their ratio, the sampler's overhead, is free
    of drift. On a GPU the brackets are events on the stream: nothing is synchronised.
    """

    def __init__(self, denoiser: Denoiser, clock: Clock):
        self._denoiser = denoiser
        self._clock = clock
        self.count = Count()
        self._spans: list[Span] = []
        self.sigma_min, self.sigma_max = denoiser.sigma_min, denoiser.sigma_max
        self.shape, self.num_classes = denoiser.shape, denoiser.num_classes
        for optional in ("schedule", "name", "sha256"):
            if hasattr(denoiser, optional):
                setattr(self, optional, getattr(denoiser, optional))

    def __call__(self, x: Tensor, sigma: float | Tensor, labels: Tensor | None = None) -> Tensor:
        self.count.calls += 1
        self.count.forwards += x.shape[0]
        span = self._clock.start()
        denoised = self._denoiser(x, sigma, labels)
        self._spans.append(self._clock.stop(span))
        return denoised

    def reset(self) -> None:
        """Forget all counts and times."""
        self.count, self._spans = Count(), []

    def network_seconds(self) -> float:
        """Seconds inside network calls since the reset; on a GPU call it after a synchronisation."""
        return sum(span.seconds() for span in self._spans)

    @contextmanager
    def watching(self, sampler: Sampler) -> Iterator["Meter"]:
        """Count and time the calls of the sampler's own networks too (a student's), reset at the start."""
        self.reset()
        started: list[Span] = []

        def before(_: nn.Module, args: tuple) -> None:
            self.count.calls += 1
            # A network's second argument has one noise level for each evaluation: [B], or [B, M] for M times in one call.
            levels = args[1].numel() if len(args) > 1 and isinstance(args[1], Tensor) else 1
            self.count.forwards += max(len(args[0]), levels)
            started.append(self._clock.start())

        def after(*_: object) -> None:
            self._spans.append(self._clock.stop(started.pop()))

        hooks = [h for n in sampler.networks() for h in (n.register_forward_pre_hook(before), n.register_forward_hook(after))]
        try:
            yield self
        finally:
            for hook in hooks:
                hook.remove()


def _complex_aware(name: str) -> Callable:
    """A matrix product's FLOPs, 8 a complex multiply-add: PyTorch's counter takes it for a real one's 2."""
    formula = flop_registry[getattr(torch.ops.aten, name)]

    def count(*args: Any, **kwargs: Any) -> int:
        factor = 4 if any(isinstance(a, Tensor) and a.is_complex() for a in args) else 1
        return factor * formula(*args, **kwargs)

    count._get_raw = True  # type: ignore[attr-defined] # the counter then hands over tensors, not shapes
    return count


COMPLEX_AWARE = {getattr(torch.ops.aten, name): _complex_aware(name) for name in ("mm", "addmm", "bmm", "baddbmm")}


def flops(run: Callable, *args: Any, **kwargs: Any) -> int:
    """FLOPs of `run(*args, **kwargs)`, by PyTorch's counter: 2 a multiply-add, 8 a complex one.

    Elementwise operations and Fourier transforms are not counted.
    """
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=COMPLEX_AWARE) as counter:
        run(*args, **kwargs)
    return counter.get_total_flops()
