"""Exact data that remember what a sampler did with them, and a watch on its operations: what the checks see."""

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from samplers.analytic import Gaussian
from samplers.errors import running
from samplers.operations import Operations


class Data(Gaussian):
    """Gaussian data of shape (6, 1, 1) and three classes, whose labels change nothing; noise levels from `low` to `high`.

    Attributes:
        seen: (x, sigma, labels) of each call.
        spoilt: number of an image that the second call makes NaN of; None of none.
    """

    num_classes = 3

    def __init__(self, low: float = 0.002, high: float = 80.0, *, device: torch.device | str = "cpu"):
        mu, s = ((0.5, -0.3, 0.0, 0.8, -0.6, 0.1), (0.3, 0.5, 0.7, 1.0, 1.3, 2.0))
        column = lambda v: torch.tensor(v, dtype=torch.float64, device=device)[:, None, None]  # noqa: E731
        super().__init__(column(mu), column(s), low, high)
        self.spoilt: int | None = None
        self.seen: list[tuple[Tensor, float | Tensor, Tensor | None]] = []

    def __call__(self, x: Tensor, sigma: float | Tensor, labels: Tensor | None = None) -> Tensor:
        with aside():
            self.seen.append((x.detach().clone(), sigma, labels))
            image = super().__call__(x, sigma)
            if self.spoilt is not None and len(self.seen) == 2:
                image = torch.where(torch.arange(len(x), device=x.device)[:, None, None, None] == self.spoilt, math.nan, image)
            return image


_watches: list["Watch"] = []


@contextmanager
def aside() -> Iterator[None]:
    """What is done in the block is the denoiser's or a network's, not the sampler's."""
    for watch in _watches:
        watch.asides += 1
    try:
        yield
    finally:
        for watch in _watches:
            watch.asides -= 1


class Watch(Operations):
    """Counts a sampler's own operations, and keeps the first line of a package that did what it should not.

    Args:
        package: top-level package of the sampler.
        inputs: tensors that are not to be written to.
        networks: whose work is not the sampler's own.

    Attributes:
        own: operators outside denoiser and networks.
        calls: of networks, one inside another not counted.
        faults: of `waits` (the host waits for the device), `draws` (from a global generator), `noise` (drawn from a generator
            that it gives) and `writes` (to an input), those that were seen -> the line.
    """

    def __init__(self, package: str, inputs: Sequence[Tensor] = (), networks: Sequence[nn.Module] = ()):
        super().__init__()
        self.package, self.networks = package, networks
        self.own = self.calls = self.asides = 0
        self.faults: dict[str, str] = {}
        self._inputs = {t.untyped_storage()._cdata for t in inputs}
        self._hooks = ExitStack()

    def __enter__(self) -> "Watch":
        for network in self.networks:
            self._hooks.callback(network.register_forward_pre_hook(self._begin).remove)
            self._hooks.callback(network.register_forward_hook(self._end, always_call=True).remove)
        _watches.append(self)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        _watches.remove(self)
        self._hooks.close()

    def _begin(self, *_: object) -> None:
        self.calls += self.asides == 0
        self.asides += 1

    def _end(self, *_: object) -> None:
        self.asides -= 1

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        waited = self.synchronisations
        out = super().__torch_dispatch__(func, types, args, kwargs)
        if self.asides:
            self.synchronisations = waited
            return out
        self.own += 1
        if self.synchronisations > waited:
            self._fault("waits")
        leaves = tree_leaves((args, kwargs or {}))
        if torch.Tag.nondeterministic_seeded in func.tags:
            self._fault("noise" if any(isinstance(v, torch.Generator) for v in leaves) else "draws")
        if any(t.untyped_storage()._cdata in self._inputs for t in _written(func, args, kwargs or {})):
            self._fault("writes")
        return out

    def _fault(self, kind: str) -> None:
        self.faults.setdefault(kind, running(self.package))


def _written(func: Any, args: tuple, kwargs: dict) -> list[Tensor]:
    """The tensors that an operation writes to."""
    if not func._schema.is_mutable:
        return []
    names = {a.name for a in func._schema.arguments if a.alias_info is not None and a.alias_info.is_write}
    given = {a.name: v for a, v in zip(func._schema.arguments, args, strict=False)} | kwargs
    return [v for name in names for v in tree_leaves(given.get(name)) if isinstance(v, Tensor)]


class Ear(io.StringIO):
    """A standard output that keeps the line of a package that wrote to it first."""

    def __init__(self, package: str):
        super().__init__()
        self.package, self.line = package, ""

    def write(self, text: str) -> int:
        self.line = self.line or running(self.package)
        return super().write(text)
