"""Count what a sampler does, by hooks on every network that it may call; no count is declared."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from bench.instruments.clock import Clock, Span
from samplers import Denoiser, Sampler


@dataclass
class Count:
    """Calls, and forwards (one network evaluation of one image each), since the meter was reset.

    `asked` are the calls as the sampler made them: one of a denoiser is one, however many networks that calls (guidance).
    """

    calls: int = 0
    forwards: int = 0
    asked: int = 0


class Meter:
    """A denoiser in the place of another, by which the calls of all networks are counted and timed while it is `watching`.

    Watched are the networks that the denoiser tells of by `networks()`, a teacher's, and the sampler's own, by hooks: so the
    bare denoiser may as well be sampled. Two calls of a network inside one of the denoiser (guidance) are two; a network
    inside another that is watched counts with that. A denoiser without networks is counted by its own calls, of this object.

    The time inside network calls comes from the very run whose total is taken, so their ratio, the sampler's overhead, is free
    of drift. On a GPU the brackets are events on the stream: nothing is synchronised.
    """

    sigma_min: float
    sigma_max: float
    shape: tuple[int, int, int]
    num_classes: int

    def __init__(self, denoiser: Denoiser, clock: Clock):
        self._denoiser, self._clock = denoiser, clock
        self._networks: Callable[[], list[nn.Module]] = getattr(denoiser, "networks", list)
        self._bare = not self._networks()
        self.reset()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._denoiser, name)

    def __call__(self, x: Tensor, sigma: float | Tensor, labels: Tensor | None = None) -> Tensor:
        self.count.asked += self._depth == 0
        self._inside = True
        if self._bare:
            self._begin(self._denoiser, (x,), {})
        try:
            return self._denoiser(x, sigma, labels)
        finally:
            self._inside = False
            if self._bare:
                self._end()

    def reset(self) -> None:
        """Forget all counts and times."""
        self.count, self._spans, self._depth, self._inside = Count(), list[Span](), 0, False

    def network_seconds(self) -> float:
        """Seconds inside network calls since the reset; on a GPU call it after a synchronisation."""
        return sum(span.seconds() for span in self._spans)

    @contextmanager
    def watching(self, sampler: Sampler | None = None) -> Iterator["Meter"]:
        """Count and time what is called in the block, of the denoiser's networks and the sampler's; reset at its start.

        The hooks are gone at its end, however it ends.
        """
        self.reset()
        with ExitStack() as hooks:
            for network in (*self._networks(), *(sampler.networks() if sampler is not None else ())):
                hooks.callback(network.register_forward_pre_hook(self._begin, with_kwargs=True).remove)
                hooks.callback(network.register_forward_hook(self._end, always_call=True).remove)
            yield self

    def _begin(self, network: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        self._depth += 1
        if self._depth == 1:
            self.count.calls += 1
            self.count.asked += not self._inside
            self.count.forwards += evaluations(network, args, kwargs)
            self._spans.append(self._clock.start())

    def _end(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._clock.stop(self._spans[-1])


def evaluations(network: Any, args: tuple, kwargs: dict[str, Any]) -> int:
    """Forwards of a call of a network: what its method `evaluations(args, kwargs)` says, else its first tensor's batch size."""
    if hasattr(network, "evaluations"):
        return network.evaluations(args, kwargs)
    return next((len(v) for v in (*args, *kwargs.values()) if isinstance(v, Tensor) and v.ndim), 1)
