"""The schedules, by their published values and as inverses, and the time grids."""

import math
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samplers import Cosine, DiscreteVP, Flow, LinearBeta, Power, UserError, sigmas
from samplers.schedule import GRIDS, LASTS, VP, vp_end

STUDY = Cosine(0.002, 80.0)


def table(betas: list[float]) -> DiscreteVP:
    return DiscreteVP(list(accumulate((1 - b for b in betas), lambda a, b: a * b)))


DDPM = table([1e-4 + (0.02 - 1e-4) * i / 999 for i in range(1000)])
STABLE_DIFFUSION = table([(0.00085**0.5 + (0.012**0.5 - 0.00085**0.5) * i / 999) ** 2 for i in range(1000)])
SCHEDULES = [Cosine(), STUDY, Power(), Flow(), LinearBeta(), DDPM, STABLE_DIFFUSION]


def logsnr(sigma: float) -> float:
    return -2 * math.log(sigma)


def test_default_ends_are_logsnr_20():
    s = Cosine()
    assert s.sigma(0) == pytest.approx(math.exp(-10), rel=1e-9)
    assert s.sigma(1) == pytest.approx(math.exp(10), rel=1e-9)


@pytest.mark.parametrize(
    ("t", "printed"), [(0.5625, -0.40), (0.25, 1.76), (0.0625, 4.63), (0.75, -1.76), (0.5, 0.0), (0.0, 20.0), (1.0, -20.0)]
)
def test_published_logsnr(t, printed):
    """DSNO's grids at their printed precision, two decimals."""
    assert logsnr(Cosine().sigma(t)) == pytest.approx(printed, abs=0.005)


@pytest.mark.parametrize("schedule", SCHEDULES)
@given(a=st.floats(0, 1), b=st.floats(0, 1))
def test_time_and_sigma_grow_together_and_are_each_other_s_inverse(schedule, a, b):
    low, high = schedule.t(schedule.sigma_min), schedule.t(schedule.sigma_max)
    s, t = (low + share * (high - low) for share in (a, b))
    assert schedule.t(schedule.sigma(t)) == pytest.approx(t, rel=1e-9, abs=1e-9)
    assert schedule.sigma_min * (1 - 1e-9) <= schedule.sigma(t) <= schedule.sigma_max * (1 + 1e-9)
    assert t - s < 1e-9 * high or schedule.sigma(s) < schedule.sigma(t)
    of_sigma = [schedule.sigma_min * (schedule.sigma_max / schedule.sigma_min) ** share for share in (a, b)]
    assert schedule.sigma(schedule.t(of_sigma[0])) == pytest.approx(of_sigma[0], rel=1e-6)
    assert b - a < 1e-9 or schedule.t(of_sigma[0]) < schedule.t(of_sigma[1])


@pytest.mark.parametrize(
    ("schedule", "low", "high"),
    [(DDPM, 0.01000, 157.41), (STABLE_DIFFUSION, 0.02917, 14.6146), (LinearBeta(), 0.00100, 152.17), (Flow(), 0.001001, 999.0)],
)
def test_published_ranges(schedule, low, high):
    """Of k-diffusion's table for DDPM, Stable Diffusion's, EDM's VP preconditioning."""
    assert (schedule.sigma_min, schedule.sigma_max) == pytest.approx((low, high), rel=5e-4)


def test_formulas():
    assert LinearBeta().sigma(0.25) == pytest.approx(math.sqrt(math.exp(0.1 * 0.25 + 19.9 * 0.25**2 / 2) - 1), rel=1e-12)
    assert Power(rho=7).t(80.0) == pytest.approx(80 ** (1 / 7))
    assert Flow().t(3.0) == 0.75


def test_a_table_s_time_is_the_number_of_a_step_and_linear_in_log_sigma_between_two():
    for i in (0, 1, 500, 999):
        a = DDPM.alphas_cumprod[i]
        assert DDPM.t(math.sqrt((1 - a) / a)) == pytest.approx(i, abs=1e-6)
    assert DDPM.sigma(0.5) == pytest.approx(math.sqrt(DDPM.sigma(0) * DDPM.sigma(1)), rel=1e-12)
    assert DDPM.sigma(0.5) == pytest.approx(0.01218, abs=5e-6)
    assert (DDPM.t(1e-6), DDPM.t(1e6)) == (0.0, 999.0)
    assert (DDPM.sigma(-3.0), DDPM.sigma(2000.0)) == (DDPM.sigma_min, DDPM.sigma_max)


def test_a_table_that_ends_in_pure_noise_ends_at_a_finite_sigma():
    zero_snr = DiscreteVP([0.9, 0.5, 0.0])
    assert zero_snr.sigma_max == pytest.approx(4096, rel=1e-6)
    assert zero_snr.t(1e9) == 2.0


@pytest.mark.parametrize(
    "values", [[], [0.5], [0.5, 0.5], [0.1, 0.5], [1.0, 0.5], [0.5, -0.1], [math.nan, 0.1], [0.5, 0.0, 0.0]]
)
def test_a_table_that_is_none(values):
    with pytest.raises(UserError, match="alphas_cumprod must be"):
        DiscreteVP(values)


@pytest.mark.parametrize("values", [{"beta_min": 30.0}, {"beta_min": math.nan}, {"t_min": 0.0}, {"beta_max": math.inf}])
def test_an_impossible_linear_schedule(values):
    with pytest.raises(UserError, match="beta_min < beta_max"):
        LinearBeta(**values)


def test_study_ends():
    assert STUDY.sigma(0) == pytest.approx(0.002, rel=1e-12)
    assert STUDY.sigma(1) == pytest.approx(80.0, rel=1e-10)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (2.0, 1.0), (1.0, 1.0), (-1.0, 1.0), (0.1, math.inf), (math.nan, 1.0)])
def test_impossible_range(low, high):
    with pytest.raises(UserError, match="0 < sigma_min < sigma_max"):
        Cosine(low, high)
    with pytest.raises(UserError, match="0 < sigma_min < sigma_max"):
        Flow(low, high)


@pytest.mark.parametrize("schedule", SCHEDULES)
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


@pytest.mark.parametrize("grid", ["logsnr", "karras", "vp_quadratic"])
def test_last_node_is_the_lowest_level(grid):
    assert sigmas(STUDY, 10, grid)[-2] == 0.002
    assert sigmas(STUDY, 10, grid, lowest=0.03)[-2] == 0.03


@given(
    steps=st.integers(1, 60), grid=st.sampled_from(list(GRIDS)), last=st.sampled_from(LASTS),
    end=st.none() | st.floats(0.01, 50), lowest=st.none() | st.floats(0.002, 0.01),
)  # fmt: skip
def test_a_walk_ends_where_it_is_told(steps, grid, last, end, lowest):
    levels = sigmas(STUDY, steps, grid, end=end, last=last, lowest=lowest)
    assert len(levels) == steps + 1
    assert levels[0] == 80.0
    assert all(a > b for a, b in pairwise(levels))
    nodes = levels if last == "stop" else levels[:-1]
    assert nodes == levels or levels[-1] == 0
    if end is not None and len(nodes) > 1:
        assert nodes[-1] == end
    assert nodes[-1] >= (lowest or 0.002)


def test_an_end_out_of_range_and_an_unknown_last_step():
    with pytest.raises(UserError, match=r"no walk ends at sigma 0\.001 here; give an end from 0\.002 to below 80"):
        sigmas(STUDY, 4, "logsnr", end=0.001)
    with pytest.raises(UserError, match=r"give an end from 0\.02 to below 80"):
        sigmas(STUDY, 4, "logsnr", end=0.01, lowest=0.02)
    with pytest.raises(UserError, match="no walk ends at sigma 80 here"):
        sigmas(STUDY, 4, "logsnr", end=80.0)
    with pytest.raises(UserError, match="unknown last step 'denoize'; did you mean 'denoise'"):
        sigmas(STUDY, 4, "logsnr", last="denoize")


def test_the_end_that_dpm_solver_advises():
    """t = 1e-3 and 1e-4 of beta from 0.1 to 20: sigma^2 = exp(0.1 t + 9.95 t^2) - 1."""
    assert vp_end(15) == pytest.approx(math.sqrt(math.expm1(1e-4 + 9.95e-6)), rel=1e-12)
    assert vp_end(15) == pytest.approx(0.0105, abs=5e-5)
    assert vp_end(16) == pytest.approx(0.0032, abs=5e-5)


def test_spacings():
    """Each grid is what its name says: equal steps of t, of sqrt(t), of log sigma, of sigma^(1/7)."""
    variables = {
        "uniform_t": STUDY.t,
        "quadratic": lambda s: math.sqrt(STUDY.t(s)),
        "vp_quadratic": lambda s: math.sqrt(VP.t(s)),
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
    got = [logsnr(s) for s in sigmas(Cosine(), 4, "quadratic")[1:-1]]
    assert got == pytest.approx([-0.40, 1.76, 4.63], abs=0.005)


def test_unknown_grid_names_the_nearest():
    with pytest.raises(UserError, match="unknown grid 'karas'; did you mean 'karras'"):
        sigmas(STUDY, 4, "karas")


@pytest.mark.parametrize("steps", [0, -3])
def test_fewer_than_one_step(steps):
    with pytest.raises(UserError, match="at least 1"):
        sigmas(STUDY, steps, "logsnr")
