"""Ours against the same method of k-diffusion and diffusers: a group each, side by side, on one grid.

Of the solver's own arithmetic ours is to take half of theirs at most, of a pass with the network no more than theirs.
"""

from importlib.util import find_spec

import pytest
import torch
from test_solver_speed import Free

import samplers

STEPS, BATCHES = 10, (1, 64)
ONE_GRID = "grid=karras:end=0.002:last=denoise"
METHODS = {
    "euler": (f"euler:{ONE_GRID}", "k_diffusion:sample_euler", "diffusers:EulerDiscreteScheduler:grid=karras"),
    "heun": (f"heun:{ONE_GRID}", "k_diffusion:sample_heun", "diffusers:HeunDiscreteScheduler:use_karras_sigmas=true"),
    "dpmpp_2m": (f"dpmpp_2m:{ONE_GRID}", "k_diffusion:sample_dpmpp_2m", "diffusers:DPMSolverMultistepScheduler:grid=karras"),
    "unipc": (f"unipc:{ONE_GRID}", "diffusers:UniPCMultistepScheduler:grid=karras:solver_order=3"),
    "deis": ("deis:grid=karras:end=0.002:last=stop", "diffusers:DEISMultistepScheduler:grid=karras:solver_order=3"),
}
CASES = [
    pytest.param(spec, batch, id=f"{spec}-{batch}", marks=pytest.mark.benchmark(group=f"{method}, batch {batch}"))
    for method, specs in METHODS.items()
    for spec in specs
    for batch in BATCHES
]


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


@pytest.mark.parametrize(("spec", "batch"), CASES)
@torch.no_grad()
def test_a_pass_with_the_network(benchmark, teacher, spec, batch):
    sampler = made_ready(spec, teacher)
    z, labels = samplers.noise(0, range(batch), teacher.shape), samplers.labels(range(batch), teacher.num_classes)
    assert torch.isfinite(sampler.sample(teacher, z, steps=STEPS, labels=labels)).all()
    benchmark.extra_info.update(steps=STEPS, calls=sampler.card.calls(STEPS), batch=batch)
    run = lambda: sampler.sample(teacher, z, steps=STEPS, labels=labels)  # noqa: E731
    benchmark.pedantic(run, rounds=10, warmup_rounds=1, iterations=1)
