"""Every solver converges at its order, on two problems with exact solutions.

The error is taken at the output, on grids that end at sigma_min: where the walk stops there the output is compared with the
exact x(sigma_min), where a call to 0 follows with D of it; no error of that last step comes in.
"""

import math
from functools import cache
from itertools import pairwise

import pytest
import torch
from exact import Gaussian, Mixture, walk_on

import samplers
from samplers.schedule import Cosine, sigmas

PROBLEMS = {"gaussian": Gaussian, "mixture": Mixture}
# A short range that starts where D bends most: there the first, low-order steps of a multistep method are as long and as wrong
# as any other, and the order in the strict limit shows. From sigma = 80 it would not: D is nearly constant up there.
STRICT = (0.3, 2.0)
PRACTICAL = (0.002, 80.0)


@cache
def problem(name: str, limits: tuple[float, float]):
    """A denoiser, three starting noises, and the exact state at sigma_min."""
    denoiser = PROBLEMS[name](*limits)
    z = samplers.noise(0, range(3), denoiser.shape, dtype=torch.float64)
    end = denoiser.exact(z * denoiser.sigma_max, denoiser.sigma_max, [denoiser.sigma_min])[0]
    return denoiser, z, end


def slope(errors: list[float], nodes: list[int]) -> float:
    """Observed order between the last two runs: nodes - 1 intervals lead to sigma_min."""
    return math.log(errors[-2] / errors[-1]) / math.log((nodes[-1] - 1) / (nodes[-2] - 1))


def error_of(spec: str, name: str, limits: tuple[float, float], nodes: int) -> float:
    """Of a run over so many nodes down to sigma_min."""
    denoiser, z, end = problem(name, limits)
    solver = samplers.get(f"{spec}:end={limits[0]}")
    stops = solver.last == "stop"
    image = solver.sample(denoiser, z, steps=nodes - stops)
    return float((image - (end if stops else denoiser(end, limits[0]))).norm())


# What theory gives with the warm-up steps, from sigma_max on. One step of a method of order p errs by O(h^(p+1)), so:
# - singlestep methods have their own order;
# - dpmpp_2m, dpmpp_3m and deis start with Euler's step, which errs by O(h^2): order 2 in the limit, whatever follows;
# - ipndm too, and its equal-step weights on a smooth grid of unequal steps leave O(h^3) a step by themselves: order 2;
# - unipc starts with Euler's step too, but corrects it by the trapezoid: O(h^3) stays, of the first correction and of
#   D_1, which was taken at the uncorrected x (O(h^2)) and enters with a weight of O(h): order 3. Before a call to 0 the last
#   step between nodes is of second order, O(h^3) too. Where it stops at the last node that step is Euler's, O(h^2): order 2;
# - sa_solver without noise as unipc, whose corrector it has;
# - dpm_solver's last interval is of first order, O(h^2), if its calls are not 3 m + 2: order 2.
ORDERS = {
    "ddim": 1,
    "euler": 1,
    "dpm_solver_1": 1,
    "heun": 2,
    "dpm_solver": 2,
    "dpm_solver_2": 2,
    "dpm_solver_3": 3,
    "dpmpp_2m": 2,
    "dpmpp_3m": 2,
    "dpmpp_3m:variant=corrected": 2,
    "deis": 2,
    "ipndm": 2,
    "unipc": 2,
    "unipc:variant=bh2": 2,
    "unipc:last=denoise": 3,
    "res": 2,
    "sa_solver:tau=0": 2,
    "sa_solver:tau=0:last=denoise": 3,
    "sa_solver:tau=0:predictor=1:corrector=0": 1,
}


def test_every_solver_that_claims_an_order_is_here():
    solvers = {n for n in samplers.names() if issubclass(samplers.registry.load(n), samplers.Solver)}
    assert {n for n in solvers if samplers.card(n).order is not None} == {n for n in ORDERS if ":" not in n}


@pytest.mark.parametrize("name", [n for n in ORDERS if ":" not in n])
def test_card_states_the_order(name):
    assert samplers.card(name).order == ORDERS[name]


@pytest.mark.parametrize("grid", ["logsnr", "karras"])
@pytest.mark.parametrize("problem_name", PROBLEMS)
@pytest.mark.parametrize("name", ORDERS)
def test_order_with_warm_up(name, problem_name, grid):
    nodes = [160, 320]
    errors = [error_of(f"{name}:grid={grid}", problem_name, STRICT, n) for n in nodes]
    assert slope(errors, nodes) == pytest.approx(ORDERS[name], abs=0.15)


@pytest.mark.parametrize(("rest", "order"), [(0, 2), (1, 2), (2, 3)])
@pytest.mark.parametrize("grid", ["logsnr", "karras"])
def test_order_of_the_mixed_method_by_the_rest_of_its_calls(grid, rest, order):
    """Third order where the last interval is of second; the calls of the interval at the end are of no account."""
    nodes = [3 * 40 + rest + 1, 3 * 80 + rest + 1]
    errors = [error_of(f"dpm_solver:grid={grid}", "mixture", STRICT, n) for n in nodes]
    assert slope(errors, nodes) == pytest.approx(order, abs=0.15)


# The order of the formulas alone, started from exact states: a polynomial through k values of D or eps, integrated exactly,
# errs by O(h^(k+1)) a step, order k. UniPC's corrector has one node more than its predictor (three), and D at the predicted x
# errs by O(h^4), times h a step: order 4. iPNDM's weights are those of equal steps in sigma, see below.
FORMULAS = {
    "dpmpp_2m": (2, 2),
    "dpmpp_3m": (2, 3),
    "dpmpp_3m:variant=corrected": (3, 3),
    "deis": (4, 4),
    "unipc": (4, 3),
    "sa_solver:tau=0": (4, 4),
    "sa_solver:tau=0:corrector=0": (3, 3),
    "ipndm": (2, 4),
}  # order, values it starts from


def formula_error(name: str, problem_name: str, levels: list[float], count: int) -> float:
    denoiser, z, _ = problem(problem_name, STRICT)
    exact = denoiser.exact(z * levels[0], levels[0], [*levels[:count], levels[-1]])
    got = walk_on(samplers.get(name), denoiser, levels, exact[:count])
    return float((got - denoiser(exact[-1], levels[-1])).norm())


@pytest.mark.parametrize("grid", ["logsnr", "karras"])
@pytest.mark.parametrize("problem_name", PROBLEMS)
@pytest.mark.parametrize("name", FORMULAS)
def test_order_of_the_formula(name, problem_name, grid):
    order, count = FORMULAS[name]
    nodes = [60, 120]
    errors = [formula_error(name, problem_name, sigmas(Cosine(*STRICT), n, grid)[:-1], count) for n in nodes]
    assert slope(errors, nodes) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("problem_name", PROBLEMS)
def test_ipndm_is_fourth_order_on_equal_steps_of_sigma(problem_name):
    low, high = STRICT
    nodes = [60, 120]
    errors = [formula_error("ipndm", problem_name, [high + i / (n - 1) * (low - high) for i in range(n)], 4) for n in nodes]
    assert slope(errors, nodes) == pytest.approx(4, abs=0.15)


@pytest.mark.parametrize(("name", "order"), [("deis", 3), ("dpmpp_3m:variant=corrected", 3), ("unipc:last=denoise", 3)])
def test_warm_up_does_not_show_on_the_full_range(name, order):
    """From sigma = 80 the first steps hardly err, so at usual step counts a reader sees the order of the formula."""
    nodes = [64, 128]
    errors = [error_of(f"{name}:grid=karras", "mixture", PRACTICAL, n) for n in nodes]
    assert slope(errors, nodes) > order - 0.15


def test_more_order_is_less_error():
    """On the full range at 32 steps: a solver that is worse than a lower one of its kind has a wrong constant somewhere."""
    e = {n: error_of(f"{n}:grid=logsnr", "mixture", PRACTICAL, 33) for n in ORDERS}
    assert e["dpm_solver_3"] < e["dpm_solver_2"] < e["dpm_solver_1"]
    assert e["dpm_solver_3"] < e["dpm_solver"] < e["dpm_solver_2"]  # though it makes a third of the calls, and half of them
    assert e["unipc"] < e["dpmpp_3m:variant=corrected"] < e["dpmpp_3m"] < e["dpmpp_2m"] < e["ddim"]
    assert e["deis"] < e["ipndm"] < e["ddim"]
    assert e["heun"] < e["euler"]


@pytest.mark.parametrize("name", ["uniform_t", "quadratic"])
def test_other_grids_converge_too(name):
    """Their last node falls to sigma = 0 as N grows; the output goes to the exact image at sigma_min nonetheless."""
    denoiser, z, end = problem("gaussian", PRACTICAL)
    exact, solver = denoiser(end, denoiser.sigma_min), samplers.get(f"heun:grid={name}")
    errors = [float((solver.sample(denoiser, z, steps=n) - exact).norm()) for n in (32, 256)]
    assert errors[1] < errors[0] / 20


def test_ipndm_loses_by_a_last_step_to_0_from_high_up():
    """With all calls between nodes it errs less than with the last of them to 0 from sigma(1 / N), O(1 / N^2) itself."""
    denoiser, z, end = problem("mixture", PRACTICAL)
    image = denoiser(end, denoiser.sigma_min)
    to_zero = samplers.sigmas(Cosine(*PRACTICAL), 20, "uniform_t")
    whole = samplers.get("ipndm:end=0.002").sample(denoiser, z, steps=20)
    assert (whole - end).norm() < 0.9 * (samplers.get("ipndm").integrate(denoiser, z, to_zero) - image).norm()


def test_heun_fails_by_the_ratio_of_neighbouring_levels():
    """An exact denoiser does not save three steps from sigma 80 to 0.002: worse than none. With ratios of ten it is near."""
    denoiser, z, end = problem("mixture", PRACTICAL)
    image, solver = denoiser(end, denoiser.sigma_min), samplers.get("heun")
    for steps, fails in ((3, True), (9, False)):
        levels = solver.levels(denoiser, steps)[:-1]
        assert (max(s / t for s, t in pairwise(levels)) > 100) == fails
        error = (solver.sample(denoiser, z, steps=steps) - image).norm() / image.norm()
        assert (error > 1) == fails
        assert fails or error < 0.3
