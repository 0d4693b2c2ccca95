"""Each solver's own arithmetic: a run of it on a denoiser that costs nothing."""

import pytest
import torch

import samplers

SOLVERS = [name for name in samplers.names() if not samplers.card(name).training]
STEPS = (10, 50)
"""Two counts, so that what a step costs can be told from what a run costs."""


class Free:
    """A denoiser of the teacher's shape that always hands out the same image; `calls` counts."""

    def __init__(self, teacher: samplers.Teacher, batch: int):
        self.sigma_min, self.sigma_max, self.schedule = teacher.sigma_min, teacher.sigma_max, teacher.schedule
        self.shape, self.num_classes, self.calls = teacher.shape, 0, 0
        self._image = torch.zeros(batch, *teacher.shape)

    def __call__(self, x, sigma, labels=None):
        self.calls += 1
        return self._image


def runs() -> list[tuple[str, int]]:
    return [(name, n) for name in SOLVERS for n in STEPS if n in (samplers.card(name).steps or STEPS)]


@pytest.mark.benchmark(group="solver-overhead")
@pytest.mark.parametrize(("name", "steps"), runs())
@torch.no_grad()
def test_solver_overhead(benchmark, teacher, name, steps):
    """All of it is overhead, so a time divided by `steps` is a step's."""
    solver, denoiser, z = samplers.get(name), Free(teacher, 1), samplers.noise(0, range(1), teacher.shape)
    solver.prepare(denoiser, "cpu", steps)
    denoiser.calls = 0
    assert torch.isfinite(solver.sample(denoiser, z, steps=steps)).all()
    benchmark.extra_info.update(steps=steps, calls=denoiser.calls, forwards=denoiser.calls, batch=1)
    run = lambda: solver.sample(denoiser, z, steps=steps)  # noqa: E731
    benchmark.pedantic(run, rounds=30, warmup_rounds=3, iterations=max(200 // steps, 1))
