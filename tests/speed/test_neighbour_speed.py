"""Ours against the same method of k-diffusion and diffusers: a group each, side by side, on one grid.

Of the solver's own arithmetic ours is to take half of theirs at most, of a pass with the network no more than theirs. Passes
are timed in interleaved pairs of random order; `ratio`, ours to theirs, and its 99 % interval, in a result's `extra_info`, are
what counts. The committed record of them is made on an idle machine, in about a quarter of an hour, by

    pytest tests/speed/test_neighbour_speed.py --benchmark-only --benchmark-json results/speed/neighbours.json
"""

from functools import partial
from importlib.util import find_spec

import pytest
import torch
from test_solver_speed import Free
from timed import timed

import samplers
from bench.instruments.paired import Rule, measure

RULE = Rule(effect=0.03, seconds=40.0)
STEPS, BATCHES = 10, (1, 64)
ONE_GRID = "grid=karras:end=0.002:last=denoise"
METHODS = {
    "ddim": ("ddim", "diffusers:DDIMScheduler"),  # which keeps its own grid
    "euler": (f"euler:{ONE_GRID}", "k_diffusion:sample_euler", "diffusers:EulerDiscreteScheduler:grid=karras"),
    "heun": (f"heun:{ONE_GRID}", "k_diffusion:sample_heun", "diffusers:HeunDiscreteScheduler:use_karras_sigmas=true"),
    "dpmpp_2m": (f"dpmpp_2m:{ONE_GRID}", "k_diffusion:sample_dpmpp_2m", "diffusers:DPMSolverMultistepScheduler:grid=karras"),
    "unipc": (f"unipc:variant=bh2:{ONE_GRID}", "diffusers:UniPCMultistepScheduler:grid=karras:solver_order=3"),
    "deis": ("deis:grid=karras:end=0.002:last=stop", "diffusers:DEISMultistepScheduler:grid=karras:solver_order=3"),
}
CASES = [
    pytest.param(spec, batch, id=f"{spec}-{batch}", marks=pytest.mark.benchmark(group=f"{method}, batch {batch}"))
    for method, specs in METHODS.items()
    for spec in specs
    for batch in BATCHES
]
PAIRS = [
    pytest.param(specs[0], theirs, batch, id=f"{method}-{theirs.partition(':')[0]}-{batch}")
    for method, specs in METHODS.items()
    for theirs in specs[1:]
    for batch in BATCHES
]
LIMIT = 1.0
"""Of the ratio."""


def made_ready(spec: str, teacher: samplers.Teacher) -> samplers.Sampler:
    library = spec.partition(":")[0]
    if library in ("k_diffusion", "diffusers") and find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    sampler = samplers.get(spec)
    sampler.prepare(teacher, "cpu", STEPS)
    return sampler


@pytest.mark.parametrize(("spec", "batch"), CASES)
@torch.no_grad()
def test_own_arithmetic(benchmark, teacher, spec, batch):
    sampler, denoiser = made_ready(spec, teacher), Free(teacher, batch)
    z = samplers.noise(0, range(batch), teacher.shape)
    assert torch.isfinite(sampler.sample(denoiser, z, steps=STEPS)).all()
    benchmark.extra_info.update(steps=STEPS, calls=denoiser.calls, batch=batch)
    benchmark.pedantic(lambda: sampler.sample(denoiser, z, steps=STEPS), rounds=30, warmup_rounds=3, iterations=10)


@pytest.mark.benchmark(group="passes in pairs")
@pytest.mark.parametrize(("ours", "theirs", "batch"), PAIRS)
@torch.no_grad()
def test_passes_in_pairs(benchmark, teacher, ours, theirs, batch):
    z, labels = samplers.noise(0, range(batch), teacher.shape), samplers.labels(range(batch), teacher.num_classes)
    mine, other = (partial(made_ready(s, teacher).sample, teacher, z, steps=STEPS, labels=labels) for s in (ours, theirs))
    assert torch.isfinite(mine()).all()
    assert torch.isfinite(other()).all()
    found = measure({"pass": (other, mine)}, RULE, 0, timed)["pass"].summary()
    told = {k: found[k] and round(found[k], 5) for k in ("ratio", "ratio_low", "ratio_high", "a_ms", "b_ms")}
    benchmark.extra_info.update(told, pairs=found["pairs"], ours=ours, theirs=theirs, batch=batch, steps=STEPS, limit=LIMIT)
    benchmark.pedantic(mine, rounds=3)
