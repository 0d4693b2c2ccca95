"""diffusers' schedulers, `diffusers:DPMSolverMultistepScheduler:use_karras_sigmas=true`: those that can drive a plain denoiser.

A scheduler is driven as its pipelines drive it. It gets a table of 1,000 noise levels, equal steps of the teacher's own time;
its states become ours, x = x0 + sigma eps; the denoiser is told the level of the time that the scheduler names (`timesteps`),
whatever level its update uses; and what it gets back is the noise prediction. It begins at sigma z as ours do, where their
pipelines begin with noise of the state's size. Options are the scheduler's own, at its defaults but for `clip_sample`, which is
off: what is sampled need not lie in [-1, 1].
"""

import inspect
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from samplers.denoiser import Denoiser, end_of, schedule_of
from samplers.errors import UserError, foreign, one_line, unknown
from samplers.neighbours.common import card_of, needed, offered, read
from samplers.neighbours.diffusers_cards import CARDS, LEAST, LEFT_OUT
from samplers.neighbours.spaces import CosinePreconditioned, Exploding, Flowing, Preconditioned, Space
from samplers.noises import FreshNoise
from samplers.protocol import Callback, Sampler, check
from samplers.schedule import GRIDS, sigmas

EXTRA = "diffusers"
"""Of our package, that installs it."""
SPACES: dict[str, type[Space]] = {
    "EDM": Preconditioned,
    "Cosine": CosinePreconditioned,
    "FlowMatch": Flowing,
    **dict.fromkeys(("Euler", "Heun", "KDPM2", "LMS", "DPMSolverSDE"), Exploding),
}
"""Of schedulers whose name begins so; of the others it is the variance-preserving one."""
NEVER = """beta_start beta_end beta_schedule trained_betas prediction_type rescale_betas_zero_snr sigma_min sigma_max
    sigma_data thresholding stochastic_sampling invert_sigmas use_dynamic_shifting time_shift_type noise_sampler_seed
    variance_type use_flow_sigmas flow_shift"""
"""Options that are no choice of a sampler's, or say what the table of levels says."""
SAME = """num_train_timesteps timestep_spacing steps_offset use_karras_sigmas use_exponential_sigmas use_beta_sigmas
    use_lu_lambdas sigma_schedule rho interpolation_type timestep_type set_alpha_to_one clip_sample_range"""
"""Options of the grid, by which order and calls stay."""


class Driven(Sampler):
    """One of their schedulers; see `load`.

    Args:
        grid: one of our time grids instead of the scheduler's own.
        end: noise level of its last node.
        options: of the scheduler.
    """

    kind: ClassVar[type]
    space: ClassVar[type[Space]]
    parameters: ClassVar[list[inspect.Parameter]]

    def __init__(self, *, grid: str | None = None, end: float | None = None, **options: Any):
        name, own = f"diffusers:{self.card.name}", self.card.grid
        if own is None and (grid or end) is not None:
            raise UserError(f"{name} keeps its own grid; leave out grid and end")
        if grid not in (None, "own", *GRIDS):
            raise unknown("grid", grid, ("own", *GRIDS))
        self.grid, self.end = grid or own, end
        if end is not None and self.grid == "own":
            raise UserError(f"{name}: its own grid has its own end; give a grid too, as grid=karras")
        self.options = read(options, self.parameters, name)
        self._made: tuple[Space, Any] | None = None
        try:
            self.kind(**self.options)
        except Exception as e:
            raise UserError(f"{name} refuses its options ({type(e).__name__}: {one_line(e)})") from e
        if not set(self.options) <= {*SAME.split()}:
            stochastic = "sde" in str(self.options.get("algorithm_type", ""))
            deterministic = self.card.deterministic and not stochastic
            self.card = replace(self.card, deterministic=deterministic, order=None, calls=self._calls)

    def _calls(self, steps: int) -> int:
        scheduler = self.kind(**self.options)
        scheduler.set_timesteps(steps)
        return len(scheduler.timesteps)

    def levels(self, denoiser: Denoiser, steps: int) -> list[float]:
        """Those that the scheduler's updates use."""
        used = _used(*self._ready(denoiser, steps))
        return [used[0], *(t for s, t in pairwise(used) if t < s)]

    def prepare(self, denoiser: Denoiser, device: torch.device | str, steps: int) -> None:
        name = f"diffusers:{self.card.name}"
        if 0 < steps < LEAST.get(self.card.name, 1):
            raise UserError(f"{name} fails with {steps} steps; give it {LEAST[self.card.name]}")
        if steps > 0:
            with foreign(f"{name} cannot take {steps} steps", "give it others", "diffusers"):
                self._ready(denoiser, steps)

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
        space, scheduler = self._ready(denoiser, steps)
        used, options = _used(space, scheduler), self._noise(scheduler, noise)
        x, told, last = noise * (used[0] / space.state(used[0])), 0, len(used) - 2
        for i, time in enumerate(scheduler.timesteps):
            sigma = space.level(float(time))
            state = scheduler.scale_model_input(x, time) if hasattr(scheduler, "scale_model_input") else x
            ours = state * space.seen(sigma)
            denoised = denoiser(ours, sigma, labels)
            x = scheduler.step(space.output(ours, denoised, sigma), time, x, return_dict=False, **options)[0]
            if callback is not None and (i == last or (used[i + 1] < used[i] if scheduler.order == 1 else i % 2)):
                callback(told, used[i + 1], x * space.state(used[i + 1]), denoised)
                told += 1
        return x * space.state(used[-1])

    def _noise(self, scheduler: Any, noise: Tensor) -> dict[str, Any]:
        """What makes a step draw from each image's own noise."""
        if self.card.deterministic:
            return {}
        seeds = FreshNoise(noise).seeds()
        if "generator" in inspect.signature(scheduler.step).parameters:
            return {"generator": [torch.Generator().manual_seed(seed) for seed in seeds]}
        scheduler.noise_sampler, scheduler.noise_sampler_seed = None, seeds
        return {}

    def _ready(self, denoiser: Denoiser, steps: int) -> tuple[Space, Any]:
        """The scheduler at the beginning of a run of so many steps."""
        space = self.space(schedule_of(denoiser), end_of(denoiser), self.options.get("num_train_timesteps", 1000))
        if self._made is None or self._made[0] != space:
            self._made = space, self._new(space)
        scheduler = self._made[1]
        if self.grid != "own" and self.grid is not None:
            nodes = sigmas(space.schedule, steps, self.grid, end=self.end, last=self.card.last, lowest=space.end)
            scheduler.set_timesteps(steps)
            scheduler.sigmas = torch.tensor([space.own(v) for v in nodes])
            scheduler.timesteps = torch.tensor([space.time(v) for v in nodes[:-1]])
            scheduler.set_begin_index(0)
        elif self.space is Flowing:  # its own begins at an infinite level
            high, low = space.own(space.schedule.sigma_max), space.own(space.end)
            scheduler.set_timesteps(sigmas=[high + i / max(steps - 1, 1) * (low - high) for i in range(steps)])
        else:
            scheduler.set_timesteps(steps)
        return space, scheduler

    def _new(self, space: Space) -> Any:
        """A scheduler whose table is a denoiser's levels."""
        options, takes = dict(self.options), inspect.signature(self.kind).parameters
        if "clip_sample" in takes:
            options.setdefault("clip_sample", False)
        if issubclass(self.space, Preconditioned):
            options |= {"sigma_min": space.end, "sigma_max": space.schedule.sigma_max}
        elif "trained_betas" in takes:
            kept = [1 / (1 + space.level(k) ** 2) for k in range(space.size)]
            options["trained_betas"] = [1 - b / a for a, b in pairwise([1.0, *kept])]
        return self.kind(**options)


def _used(space: Space, scheduler: Any) -> list[float]:
    """The level before each call by the scheduler's own account, and the one after all."""
    if hasattr(scheduler, "sigmas"):
        own = scheduler.sigmas.tolist()
        return [space.sigma(s) for s in (*own[: len(scheduler.timesteps)], own[-1])]
    times = [space.level(t) for t in scheduler.timesteps.tolist()]  # DDIM and its kin count in times
    return [*times, 0.0 if getattr(scheduler.config, "set_alpha_to_one", True) else space.end]


@cache
def load(name: str) -> type[Sampler]:
    """The sampler of a scheduler's name.

    Raises:
        UserError: there is no such, it is left out, or diffusers is not installed.
    """
    card = card_of("diffusers", name, CARDS, LEFT_OUT)
    needed("diffusers", EXTRA)
    import diffusers

    kind = getattr(diffusers, name)
    parameters = offered(kind, NEVER.split())
    own: dict[str, Any] = {
        "card": card,
        "kind": kind,
        "space": next((space for start, space in SPACES.items() if name.startswith(start)), Space),
        "parameters": parameters,
        "__module__": kind.__module__,
        "__doc__": kind.__doc__,
    }
    made = type(name, (Driven,), own)
    ours = [p for p in inspect.signature(Driven).parameters.values() if p.kind is p.KEYWORD_ONLY]
    made.__signature__ = inspect.Signature([*ours, *parameters])  # type: ignore[attr-defined]
    return made
