"""The cosine schedule's published values and the four time grids."""

import math
from itertools import pairwise

import pytest

from samplers import CosineSchedule, UserError, sigmas
from samplers.schedule import GRIDS

STUDY = CosineSchedule(0.002, 80.0)


def logsnr(sigma: float) -> float:
    return -2 * math.log(sigma)


def test_default_ends_are_logsnr_20():
    s = CosineSchedule()
    assert s.sigma(0) == pytest.approx(math.exp(-10), rel=1e-9)
    assert s.sigma(1) == pytest.approx(math.exp(10), rel=1e-9)


@pytest.mark.parametrize(
    ("t", "printed"), [(0.5625, -0.40), (0.25, 1.76), (0.0625, 4.63), (0.75, -1.76), (0.5, 0.0), (0.0, 20.0), (1.0, -20.0)]
)
def test_published_logsnr(t, printed):
    """DSNO's grids at their printed precision, two decimals."""
    assert logsnr(CosineSchedule().sigma(t)) == pytest.approx(printed, abs=0.005)


@pytest.mark.parametrize("schedule", [CosineSchedule(), STUDY])
def test_time_is_the_inverse_of_sigma(schedule):
    for k in range(101):
        assert schedule.t(schedule.sigma(k / 100)) == pytest.approx(k / 100, abs=1e-12)


def test_study_ends():
    assert STUDY.sigma(0) == pytest.approx(0.002, rel=1e-12)
    assert STUDY.sigma(1) == pytest.approx(80.0, rel=1e-10)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (2.0, 1.0), (1.0, 1.0), (-1.0, 1.0), (0.1, math.inf), (math.nan, 1.0)])
def test_impossible_range(low, high):
    with pytest.raises(UserError, match="0 < sigma_min < sigma_max"):
        CosineSchedule(low, high)


@pytest.mark.parametrize("schedule", [CosineSchedule(), STUDY])
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 100, 1000])
@pytest.mark.parametrize("grid", GRIDS)
def test_grid_falls_from_sigma_max_to_0(grid, steps, schedule):
    levels = sigmas(schedule, steps, grid)
    assert len(levels) == steps + 1
    assert levels[0] == pytest.approx(schedule.sigma_max, rel=1e-9)
    assert levels[-1] == 0.0
    assert all(a > b for a, b in pairwise(levels))
    assert all(type(v) is float for v in levels)
    assert min(levels[:-1]) >= schedule.sigma_min * (1 - 1e-9)


@pytest.mark.parametrize("grid", ["logsnr", "karras"])
def test_last_node_is_sigma_min(grid):
    assert sigmas(STUDY, 10, grid)[-2] == pytest.approx(0.002, rel=1e-9)


def test_spacings():
    """Each grid is what its name says: equal steps of t, of sqrt(t), of log sigma, of sigma^(1/7)."""
    variables = {
        "uniform_t": STUDY.t,
        "quadratic": lambda s: math.sqrt(STUDY.t(s)),
        "logsnr": math.log,
        "karras": lambda s: s ** (1 / 7),
    }
    assert set(variables) == set(GRIDS)
    for grid, variable in variables.items():
        values = [variable(s) for s in sigmas(STUDY, 8, grid)[:-1]]
        steps = [a - b for a, b in pairwise(values)]
        assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-9)


def test_uniform_t_and_quadratic_have_0_as_their_nth_point():
    assert STUDY.t(sigmas(STUDY, 8, "uniform_t")[-2]) == pytest.approx(1 / 8)
    assert STUDY.t(sigmas(STUDY, 8, "quadratic")[-2]) == pytest.approx(1 / 64)


def test_dsno_grid_is_quadratic_with_4_steps():
    got = [logsnr(s) for s in sigmas(CosineSchedule(), 4, "quadratic")[1:-1]]
    assert got == pytest.approx([-0.40, 1.76, 4.63], abs=0.005)


def test_unknown_grid_names_the_nearest():
    with pytest.raises(UserError, match="unknown grid 'karas'; did you mean 'karras'"):
        sigmas(STUDY, 4, "karas")


@pytest.mark.parametrize("steps", [0, -3])
def test_fewer_than_one_step(steps):
    with pytest.raises(UserError, match="at least 1"):
        sigmas(STUDY, steps, "logsnr")
