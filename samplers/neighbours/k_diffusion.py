"""k-diffusion's samplers, `k_diffusion:sample_heun`: every function of its `sampling` module that a number of steps drives.

Their model is our denoiser, so they are called as they are. The noise levels are their own usual ones, which are EDM's, or any
of ours. More noise comes from the image's own (`FreshNoise`), by their Brownian tree where that is their default; `s_churn` is
left out, since it draws from the global generator.
"""

import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch import Tensor

from samplers.denoiser import Denoiser, end_of, schedule_of
from samplers.errors import UserError, unknown
from samplers.neighbours.common import card_of, needed, offered, read
from samplers.noises import FreshNoise
from samplers.protocol import Callback, Card, Sampler, check
from samplers.schedule import GRIDS, LASTS, sigmas

EXTRA = "kdiffusion"
"""Of our package, that installs it."""
PARENT = "_k_diffusion_without_init"
"""In the place of their package, whose own import takes logging services and CLIP along."""
OURS = ("extra_args", "callback", "disable", "noise_sampler", "s_churn", "s_tmin", "s_tmax", "n", "sigma_min", "sigma_max")
"""Arguments that are no option."""
UNUSED = "; draws noise it does not use from the global generator, and asks the device for levels"


def _card(name: str, note: str, order: int | None, calls: Callable[[int], int] = lambda n: n, **more: Any) -> Card:
    setting = "the grid of their examples (EDM's) down to the teacher's lowest level, then one call to 0"
    return Card(
        name=f"sample_{name}",
        family="k_diffusion",
        paper="Crowson 2022, k-diffusion",
        order=order,
        deterministic=order is not None,
        noise_from=2,  # none comes with the step to 0
        calls=calls,
        setting=setting,
        note=note,
        **({"grid": "karras"} | more),
    )


_twice: Callable[[int], int] = lambda n: 2 * n - 1  # noqa: E731 (the last step, to 0, is one call)
CARDS = {
    card.name: card
    for card in (
        _card("euler", "Euler's method" + UNUSED, 1),
        _card("euler_ancestral", "Euler's method with ancestral noise", None),
        _card("heun", "EDM's algorithm 1" + UNUSED, 2, _twice),
        _card("dpm_2", "DPM-Solver-2's midpoint in log sigma" + UNUSED, 2, _twice),
        _card("dpm_2_ancestral", "DPM-Solver-2 with ancestral noise", None, _twice),
        _card("lms", "linear multistep in sigma; its order is that between nodes: the step to 0 extrapolates too", 2),
        _card(
            "dpm_fast", "DPM-Solver of mixed orders on equal steps of log sigma; stops at the end", 2, grid=None, last="stop"
        ),
        _card("dpmpp_2s_ancestral", "DPM-Solver++(2S) with ancestral noise", None, _twice),
        _card("dpmpp_sde", "DPM-Solver++ for the SDE, midpoint", None, _twice),
        _card("dpmpp_2m", "DPM-Solver++(2M); order is not lowered at the end", 2),
        _card("dpmpp_2m_sde", "DPM-Solver++(2M) for the SDE", None),
        _card("dpmpp_3m_sde", "DPM-Solver++(3M) for the SDE", None),
    )
}
LEFT_OUT = {"sample_dpm_adaptive": "its calls follow from tolerances, not from a number of steps"}
LEAST = {"sample_dpmpp_2m_sde": 2, "sample_dpmpp_3m_sde": 2}
"""Steps of those that fail with fewer."""


@cache
def sampling() -> ModuleType:
    """Their `sampling` module, imported without the rest of the package.

    Raises:
        UserError: k-diffusion is not installed.
    """
    needed("k_diffusion", EXTRA)
    found = importlib.util.find_spec("k_diffusion")
    assert found is not None
    parent = sys.modules[PARENT] = ModuleType(PARENT)
    parent.__path__ = list(found.submodule_search_locations or ())
    return import_module(f"{PARENT}.sampling")


class KSampler(Sampler):
    """One of their functions; see `load`.

    Args:
        grid: a time grid instead of theirs.
        end: noise level of its last node.
        last: what comes there, `denoise` or `stop`.
        options: of the function.
    """

    function: ClassVar[Callable]
    parameters: ClassVar[list[inspect.Parameter]]

    def __init__(self, *, grid: str | None = None, end: float | None = None, last: str | None = None, **options: Any):
        self.end = end
        self.grid = None if self.card.grid is None else grid or self.card.grid
        if grid is not None and grid not in GRIDS:
            raise unknown("grid", grid, GRIDS)
        if last is not None and last not in LASTS:
            raise unknown("last step", last, LASTS)
        if last == "stop" and self.card.last == "denoise":
            own, zero = self.card.calls, self.card.calls(2) - self.card.calls(1)
            self.card = replace(self.card, last=last, calls=lambda n: own(n) + zero - 1)
        self.options = read(options, self.parameters, f"k_diffusion:{self.card.name}")
        eta = next((p.default for p in self.parameters if p.name == "eta"), 0) if "eta" not in options else options["eta"]
        stochastic = float(eta) > 0
        if stochastic == self.card.deterministic:
            self.card = replace(self.card, deterministic=not stochastic, order=None)

    def levels(self, denoiser: Denoiser, steps: int) -> list[float]:
        """As of a solver; of `sample_dpm_fast`, which has no grid, where it begins and ends."""
        lowest, schedule = end_of(denoiser), schedule_of(denoiser)
        if self.grid is None:
            return [schedule.sigma_max, sigmas(schedule, 1, "logsnr", end=self.end, last="stop", lowest=lowest)[-1]]
        return sigmas(schedule, steps, self.grid, end=self.end, last=self.card.last, lowest=lowest)

    def prepare(self, denoiser: Denoiser, device: torch.device | str, steps: int) -> None:
        if 0 < steps < LEAST.get(self.card.name, 1):
            raise UserError(f"k_diffusion:{self.card.name} fails with {steps} step; give it {LEAST[self.card.name]}")
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
        kind = noise.dtype if noise.dtype == torch.float64 else torch.float32
        grid = torch.tensor(levels, device=noise.device, dtype=kind)
        options: dict[str, Any] = {"extra_args": {"labels": labels}, "disable": True, **self.options}
        if "noise_sampler" in inspect.signature(type(self).function).parameters:
            options["noise_sampler"] = self._noise(noise, grid)
        befores: list[tuple[float, Tensor, Tensor]] = []
        if callback is not None:
            options["callback"] = lambda info: befores.append((float(info["sigma"]), info["x"], info["denoised"]))
        given = {"sigmas": grid} if self.grid else {"sigma_min": levels[-1], "sigma_max": levels[0], "n": steps}
        x = type(self).function(denoiser, noise * grid[0], **given, **options)
        if callback is not None:  # theirs is told of the state before a step
            afters = [(s, before) for s, before, _ in befores[1:]] + [(levels[-1], x)]
            for i, ((s, after), (*_, denoised)) in enumerate(zip(afters, befores, strict=True)):
                callback(i, s, after, denoised)
        return x.to(noise.dtype)

    def _noise(self, noise: Tensor, grid: Tensor) -> Callable[[Any, Any], Tensor | float]:
        """More noise of each image's own, by a Brownian path where the function's own default is one."""
        if self.card.deterministic:
            return lambda s, t: 0.0
        fresh, turn = FreshNoise(noise), iter(range(10**9))
        if not self.card.name.endswith("sde"):
            return lambda s, t: fresh(next(turn))
        return sampling().BrownianTreeNoiseSampler(noise, grid[grid > 0].min(), grid.max(), seed=fresh.seeds())


@cache
def load(name: str) -> type[Sampler]:
    """The sampler of a function's name.

    Raises:
        UserError: there is no such, it is left out, or k-diffusion is not installed.
    """
    card = card_of("k_diffusion", name, CARDS, LEFT_OUT)
    function = getattr(sampling(), name)
    parameters = offered(function, OURS if "noise_sampler" in inspect.signature(function).parameters else (*OURS, "s_noise"))
    own = {"card": card, "function": staticmethod(function), "parameters": parameters}
    kind = type(name, (KSampler,), own | {"__module__": function.__module__, "__doc__": function.__doc__})
    ours = [p for p in inspect.signature(KSampler).parameters.values() if p.kind is p.KEYWORD_ONLY]
    kind.__signature__ = inspect.Signature([*ours, *parameters])  # type: ignore[attr-defined]
    return kind
