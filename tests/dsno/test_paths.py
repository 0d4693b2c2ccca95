"""A solver's path through the noise levels that are asked for."""

import math
from itertools import pairwise

import pytest
import torch
from tiny import Gaussian, wanted_at

import samplers
from dsno.network import DSNOConfig
from dsno.times import time_points
from samplers import Cosine, sigmas
from samplers.solvers.paths import levels_through, path_of

SCHEDULE = Cosine(0.002, 80.0)
TIMES = DSNOConfig().times()


# Levels


@pytest.mark.parametrize("wanted_grid", [("quadratic", 4), ("uniform", 4), ("quadratic", 8), ("uniform", 1)])
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8, 32, 100])
@pytest.mark.parametrize("grid", ["uniform_t", "quadratic", "logsnr", "karras"])
def test_levels_contain_what_is_wanted(grid, steps, wanted_grid):
    wanted = wanted_at(time_points(*wanted_grid), SCHEDULE)
    levels = sigmas(SCHEDULE, steps, grid)
    through = levels_through(levels, wanted)
    assert set(wanted) <= set(through)
    assert all(a > b for a, b in pairwise(through))
    assert (through[0], through[-1]) == (levels[0], 0.0)
    assert len(levels) <= len(through) <= len(levels) + len(wanted) - 1
    assert set(through) <= set(levels) | set(wanted)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([0.0], [16.0, 4.0, 2.0, 1.0, 0.0]),
        ([2.6, 0.0], [16.0, 4.0, 2.6, 1.0, 0.0]),  # 2 is nearest
        ([2.9, 0.0], [16.0, 2.9, 2.0, 1.0, 0.0]),  # 4 is, in the logarithm
        ([2.6, 2.5], [16.0, 4.0, 2.6, 2.5, 1.0, 0.0]),  # the node is taken: one is added
        ([12.0], [16.0, 12.0, 4.0, 2.0, 1.0, 0.0]),  # the start stays
        ([0.01], [16.0, 4.0, 2.0, 0.01, 0.0]),
        ([4.0, 1.0, 0.0], [16.0, 4.0, 2.0, 1.0, 0.0]),
        ([1.2, 1.0], [16.0, 4.0, 2.0, 1.2, 1.0, 0.0]),
    ],
)
def test_the_nearest_node_moves(wanted, expected):
    assert levels_through([16.0, 4.0, 2.0, 1.0, 0.0], wanted) == expected


def test_times_that_are_nodes_change_nothing():
    levels = sigmas(SCHEDULE, 32, "uniform_t")
    assert levels_through(levels, wanted_at(TIMES, SCHEDULE)) == levels


# Paths


GAUSSIAN = Gaussian(torch.tensor([0.5, -0.3, 0.8])[:, None, None], torch.tensor([0.3, 0.8, 1.5])[:, None, None])


def path_errors(spec: str, target: str, steps: int) -> list[float]:
    """Largest error at each time against the closed form."""
    solver = samplers.get(spec)
    z = samplers.noise(0, range(4), GAUSSIAN.shape, dtype=torch.float64)
    wanted = wanted_at(TIMES, SCHEDULE)
    levels = levels_through(sigmas(SCHEDULE, steps, solver.grid), wanted)
    found = path_of(solver, GAUSSIAN, z, levels, wanted, target=target)
    exact = [GAUSSIAN.at(z, s) / math.sqrt(1 + s * s) if target == "state" else GAUSSIAN.image(z, s) for s in wanted[:-1]]
    exact.append(GAUSSIAN.image(z, levels[-2]))  # the solver's image is its prediction at the last level above 0
    assert found.shape == (4, len(TIMES), 3, 1, 1)
    return [float((found[:, i] - e).abs().max()) for i, e in enumerate(exact)]


@pytest.mark.parametrize("target", ["x0", "state"])
@pytest.mark.parametrize(("spec", "order", "error"), [("ddim", 1, 8e-2), ("heun", 2, 6e-3), ("dpmpp_2m", 2, 3e-3)])
def test_path_is_the_closed_form(spec, order, error, target):
    coarse, fine = (path_errors(f"{spec}:grid=logsnr", target, n) for n in (80, 160))
    assert max(coarse) < error
    for a, b in zip(coarse, fine, strict=True):
        assert math.log2(a / b) == pytest.approx(order, abs=0.3)


def test_path_ends_in_the_solvers_image():
    solver, z = samplers.get("heun"), samplers.noise(0, range(2), GAUSSIAN.shape, dtype=torch.float64)
    levels = sigmas(SCHEDULE, 7, "karras")
    image = solver.integrate(GAUSSIAN, z, levels)
    for target in ("x0", "state"):
        assert torch.equal(path_of(solver, GAUSSIAN, z, levels, [levels[3], 0.0], target=target)[:, 1], image)
