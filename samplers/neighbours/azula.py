"""azula's samplers, `azula:xEABSampler:order=3`: those that draw nothing, on the variance-preserving states of its default.

Their time runs from 1 to 0 in equal steps; what noise levels it means is their schedule's to say, which here gives those of a
grid of ours down to its last node, where they stop.
"""

import inspect
from functools import cache
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from samplers.denoiser import Denoiser, end_of, schedule_of
from samplers.errors import unknown
from samplers.neighbours.common import card_of, needed, offered, read
from samplers.protocol import Callback, Card, Sampler, check
from samplers.schedule import GRIDS, sigmas

EXTRA = "azula"
"""Of our package, that installs it."""


def _card(name: str, note: str, order: int, calls: int = 1) -> Card:
    return Card(
        name=f"{name}Sampler",
        family="azula",
        paper="Rozet 2024, azula",
        order=order,
        calls=lambda n: calls * n,
        grid="uniform_t",
        last="stop",
        setting="equal steps of the teacher's own time down to its lowest level, where it stops",
        note=note,
    )


CARDS = {
    card.name: card
    for card in (
        _card("Euler", "Euler's method", 1),
        _card("Heun", "Heun's method, two calls in every step", 2, 2),
        _card("zAB", "Adams-Bashforth on eps in sigma, of second order", 2),
        _card("vAB", "Adams-Bashforth on velocity, of second order", 2),
        _card("zEAB", "exponential Adams-Bashforth on eps, of second order", 2),
        _card("xEAB", "exponential Adams-Bashforth on the image, of second order", 2),
        _card(
            "REAB",
            "Rosenbrock-type exponential Adams-Bashforth; in one place it has the sigma of the level before",
            1,
        ),
    )
}
GLOBAL = "it draws from the global generator"
LEFT_OUT = {
    "DDIMSampler": f"without eta it is EulerSampler, with it {GLOBAL}",
    **dict.fromkeys(("DDPMSampler", "ItoSampler", "PCSampler"), GLOBAL),
}


class _Posterior(NamedTuple):
    mean: Tensor


class _AsTheirs:
    """Our denoiser as theirs: states x / sqrt(1 + sigma^2), times 1 .. 0 that stand for levels; keeps what it was asked."""

    def __init__(self, denoiser: Denoiser, levels: Tensor, labels: Tensor | None):
        self.denoiser, self.levels, self.labels = denoiser, levels, labels
        self.asked: list[tuple[Tensor, Tensor]] = []

    def _sigma(self, t: Tensor) -> Tensor:
        return self.levels[((1 - t) * (len(self.levels) - 1)).round().long()]

    def schedule(self, t: Tensor) -> tuple[Tensor, Tensor]:
        sigma = self._sigma(t)
        alpha = (1 + sigma**2).rsqrt()
        return alpha, alpha * sigma

    def __call__(self, x: Tensor, t: Tensor, **_: Any) -> _Posterior:
        sigma = self._sigma(t)
        ours = x * (1 + sigma**2).sqrt()
        denoised = self.denoiser(ours, sigma, self.labels)
        self.asked.append((ours, denoised))
        return _Posterior(denoised)


class Azula(Sampler):
    """One of their samplers; see `load`.

    Args:
        grid: another time grid.
        end: noise level of its last node.
        options: of the sampler.
    """

    kind: ClassVar[type]
    parameters: ClassVar[list[inspect.Parameter]]

    def __init__(self, *, grid: str | None = None, end: float | None = None, **options: Any):
        self.grid, self.end = grid or self.card.grid, end
        if self.grid not in GRIDS:
            raise unknown("grid", self.grid, GRIDS)
        self.options = read(options, self.parameters, f"azula:{self.card.name}")

    def levels(self, denoiser: Denoiser, steps: int) -> list[float]:
        return sigmas(schedule_of(denoiser), steps, str(self.grid), end=self.end, last="stop", lowest=end_of(denoiser))

    def prepare(self, denoiser: Denoiser, device: torch.device | str, steps: int) -> None:
        self.levels(denoiser, max(steps, 1))

    def sample(
        self,
        denoiser: Denoiser,
        noise: Tensor,
        *,
        steps: int,
        labels: Tensor | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        check(self.card, denoiser, noise, steps)
        levels = self.levels(denoiser, steps)
        theirs = _AsTheirs(denoiser, torch.tensor(levels, dtype=noise.dtype, device=noise.device), labels)
        sampler = self.kind(theirs, steps=steps, silent=True, **self.options)
        first, last = ((1 + s * s) ** 0.5 for s in (levels[0], levels[-1]))
        x = sampler(noise * (levels[0] / first)) * last
        if callback is not None:
            each = len(theirs.asked) // steps  # calls of a step, the first at its beginning
            befores = theirs.asked[::each]
            afters = [*(before for before, _ in befores[1:]), x]
            for i, (after, (_, denoised)) in enumerate(zip(afters, befores, strict=True)):
                callback(i, levels[i + 1], after, denoised)
        return x


@cache
def load(name: str) -> type[Sampler]:
    """The sampler of a class's name.

    Raises:
        UserError: there is no such, it is left out, or azula is not installed.
    """
    card = card_of("azula", name, CARDS, LEFT_OUT)
    needed("azula", EXTRA)
    import azula.sample

    kind = getattr(azula.sample, name)
    parameters = offered(kind, ())
    own = {"card": card, "kind": kind, "parameters": parameters, "__module__": kind.__module__, "__doc__": kind.__doc__}
    made = type(name, (Azula,), own)
    ours = [p for p in inspect.signature(Azula).parameters.values() if p.kind is p.KEYWORD_ONLY]
    made.__signature__ = inspect.Signature([*ours, *parameters])  # type: ignore[attr-defined]
    return made
