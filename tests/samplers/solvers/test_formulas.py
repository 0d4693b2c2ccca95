"""Each step formula is exact where its derivation says so, one step from points set by hand.

The states' x are arbitrary: multistep formulas read the past through D or eps alone, singlestep ones call a model that
ignores x. Integrals are scipy's.
"""

import math

import pytest
import torch
from exact import walk_at
from scipy.integrate import quad

import samplers
from samplers import Cosine, UserError
from samplers.schedule import VP
from samplers.solvers.adams import exponential_weights
from samplers.solvers.dpm_solver import mixed_orders
from samplers.solvers.unipc import coefficients

SCHEDULE = Cosine(0.002, 80.0)
NODES = [7.0, 4.0, 2.9, 1.3]  # unequal steps on purpose
T = 0.8
X = torch.tensor([0.7, -1.1], dtype=torch.float64)[None, :, None, None]
POLYNOMIALS = torch.tensor([[0.3, -0.8, 1.7, 2.1], [-1.2, 0.4, 0.9, -0.6]], dtype=torch.float64)  # [C, power]


def polynomial(variable: float, degree: int) -> torch.Tensor:
    """One polynomial of `degree` a channel, [1, 2, 1, 1]."""
    powers = torch.tensor([variable**k for k in range(degree + 1)], dtype=torch.float64)
    return (POLYNOMIALS[:, : degree + 1] @ powers)[None, :, None, None]


def integral(f, s: float, t: float) -> torch.Tensor:
    """Channelwise integral of f from s to t."""
    values = [quad(lambda v, c=c: float(f(v)[0, c]), s, t, epsabs=1e-13)[0] for c in range(2)]
    return torch.tensor(values, dtype=torch.float64)[None, :, None, None]


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, rtol=0, atol=1e-10)


def walk_of_eps(eps, nodes, model=None):
    """A walk whose eps at each node is eps(sigma), D = x - sigma eps."""
    return walk_at([(s, X, X - s * eps(s)) for s in nodes], model, SCHEDULE)


def walk_of_denoised(denoised, nodes):
    return walk_at([(s, X, denoised(s)) for s in nodes], None, SCHEDULE)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_deis_is_exact_for_polynomials_in_time(count):
    """With k past values, for degree k - 1 in linear VP time: x_t = x_s + the integral of eps over sigma."""

    def eps(sigma):
        return polynomial(VP.t(sigma), count - 1)

    got = samplers.get("deis").step(walk_of_eps(eps, NODES[-count:]), T)
    assert close(got, X + integral(eps, NODES[-1], T))


def test_deis_is_not_exact_one_degree_higher():
    def eps(sigma):
        return polynomial(VP.t(sigma), 3)

    got = samplers.get("deis").step(walk_of_eps(eps, NODES[-3:]), T)
    assert not torch.allclose(got, X + integral(eps, NODES[-1], T), atol=1e-5)


@pytest.mark.parametrize(("schedule", "s", "t"), [(SCHEDULE, 80.0, 0.9), (Cosine(), 12.7, 0.08), (SCHEDULE, 0.05, 0.002)])
def test_deis_weights_equal_adaptive_quadrature(schedule, s, t):
    nodes = [s * 1.9, s * 1.3, s] if s < schedule.sigma_max else [s]
    own = [schedule.t(n) for n in nodes]
    for j, weight in enumerate(exponential_weights(schedule, nodes, s, t)):

        def basis(lam, j=j):
            time = schedule.t(math.exp(-lam))
            return -math.exp(-lam) * math.prod((time - b) / (own[j] - b) for k, b in enumerate(own) if k != j)

        assert weight == pytest.approx(quad(basis, -math.log(s), -math.log(t), epsabs=0, epsrel=1e-12, limit=200)[0], rel=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_ipndm_is_exact_for_polynomials_in_sigma_on_equal_steps(count):
    nodes = [4.0, 3.4, 2.8, 2.2]

    def eps(sigma):
        return polynomial(sigma, count - 1)

    got = samplers.get("ipndm").step(walk_of_eps(eps, nodes[-count:]), 1.6)
    assert close(got, X + integral(eps, 2.2, 1.6))


def exact_from_denoised(denoised, s: float, t: float) -> torch.Tensor:
    """Variation of constants, dx/dlambda = D - x: x_t = (t / s) x_s + t * integral of e^lambda D over lambda."""
    forced = integral(lambda lam: math.exp(lam) * denoised(math.exp(-lam)), -math.log(s), -math.log(t))
    return (t / s) * X + t * forced


def polynomial_in_lambda(degree: int):
    return lambda sigma: polynomial(-math.log(sigma), degree)


def test_dpmpp_3m_is_exact_for_a_parabola_in_lambda_once_corrected():
    """As published it is exact for a line alone: half of the second derivative's term is missing."""
    for degree, variant, right in [(2, "corrected", True), (1, "published", True), (2, "published", False)]:
        denoised = polynomial_in_lambda(degree)
        got = samplers.get(f"dpmpp_3m:variant={variant}").step(walk_of_denoised(denoised, NODES[-3:]), T)
        assert close(got, exact_from_denoised(denoised, NODES[-1], T)) == right


def test_unknown_variants():
    with pytest.raises(UserError, match="unknown variant of dpmpp_3m 'corected'; did you mean 'corrected'"):
        samplers.get("dpmpp_3m:variant=corected")
    with pytest.raises(UserError, match="unknown variant of unipc 'bh3'"):
        samplers.get("unipc:variant=bh3")


def test_dpmpp_2m_misses_a_line_in_lambda_by_what_its_formula_leaves_out():
    """It takes D at the middle of the step, (1 - e^-h) (D + h D' / 2); exact is (1 - e^-h) D + (h - 1 + e^-h) D'.

    The difference, D' ((1 - e^-h) h / 2 - (h - 1 + e^-h)), is O(h^3).
    """
    denoised, s = polynomial_in_lambda(1), NODES[-1]
    h, slope = math.log(s / T), POLYNOMIALS[:, 1][None, :, None, None]
    got = samplers.get("dpmpp_2m").step(walk_of_denoised(denoised, NODES[-2:]), T)
    left_out = slope * (-math.expm1(-h) * h / 2 - (h + math.expm1(-h)))
    assert close(got - exact_from_denoised(denoised, s, T), left_out)
    assert left_out.abs().max() > 1e-3


@pytest.mark.parametrize(
    "name", ["ddim", "euler", "dpm_solver", "dpm_solver_1", "dpmpp_2m", "dpmpp_3m", "unipc", "deis", "ipndm"]
)
def test_first_step_is_eulers(name):
    """x_t = D + (t / s) (x - D)."""
    denoised = polynomial(1.0, 3)
    got = samplers.get(name).step(walk_at([(2.0, X, denoised)], None, SCHEDULE), 0.5)
    assert close(got, denoised + 0.25 * (X - denoised))


def unipc_predicts(nodes, denoised, t, variant="bh1"):
    """UniPC's predictor from points, without the correction that `step` makes first: that point's x is set back to X."""
    solver, walk = samplers.get(f"unipc:variant={variant}"), walk_of_denoised(denoised, nodes)
    solver._correct = lambda walk: None
    return solver.step(walk, t)


def test_unipc_predictor_is_exact_for_a_parabola_in_lambda():
    denoised = polynomial_in_lambda(2)
    assert close(unipc_predicts(NODES[-3:], denoised, T), exact_from_denoised(denoised, NODES[-1], T))


def test_unipc_looks_back_on_three_values_at_most():
    denoised = polynomial_in_lambda(3)
    assert torch.equal(unipc_predicts(NODES, denoised, T), unipc_predicts(NODES[-3:], denoised, T))


def test_unipc_predictor_with_two_values_is_dpmpp_2m():
    denoised = polynomial_in_lambda(3)
    expected = samplers.get("dpmpp_2m").step(walk_of_denoised(denoised, NODES[-2:]), T)
    assert close(unipc_predicts(NODES[-2:], denoised, T, "bh2"), expected)
    assert not close(unipc_predicts(NODES[-2:], denoised, T, "bh1"), expected)


@pytest.mark.parametrize("count", [3, 4])
def test_unipc_corrector_is_exact_for_one_degree_more(count):
    """It redoes the step to the newest point through all the points, the newest included: count values, degree count - 1."""
    denoised = polynomial_in_lambda(count - 1)
    nodes = [*NODES[-count + 1 :], T]
    walk = walk_of_denoised(denoised, nodes)
    walk.points[-1] = walk.points[-1]._replace(x=torch.full_like(X, 99.0))  # what the predictor said must not matter
    samplers.get("unipc").step(walk, T / 2)
    assert close(walk.points[-1].x, exact_from_denoised(denoised, NODES[-1], T))


def test_unipc_first_correction_takes_rho_one_half():
    """The paper's for one node: -B(h) (D_t - D_s) / 2, B_2 = e^-h - 1 (the trapezoid) or B_1 = -h."""
    denoised = polynomial_in_lambda(3)
    for variant, size in (("bh2", 0.75), ("bh1", math.log(4))):
        walk = walk_of_denoised(denoised, [2.0, 0.5])
        samplers.get(f"unipc:variant={variant}").step(walk, 0.2)
        expected = 0.25 * X + 0.75 * denoised(2.0) + size / 2 * (denoised(0.5) - denoised(2.0))
        assert close(walk.points[-1].x, expected)


@pytest.mark.parametrize(
    ("name", "orders"),
    [("unipc", [1, 2, 3, 3, 2, 1]), ("dpmpp_3m", [1, 2, 3, 3, 2, 1]), ("sa_solver:tau=0", [1, 2, 3, 3, 2, 1])],
)
def test_order_is_lowered_at_the_end(name, orders):
    """Seen from what a step reads: D of points further back than its order may be anything."""
    levels = [9.0, 7.0, 4.0, 2.9, 1.3, 0.8, 0.4]
    denoised, solver = polynomial_in_lambda(3), samplers.get(name)
    solver._correct = lambda walk: None
    for i, order in enumerate(orders):
        steps = []
        for spoiled in (0.0, 1e3):
            walk = walk_of_denoised(denoised, levels[: i + 1])
            walk.levels, walk.done = levels, i
            read = len(walk.points) - order
            for k in range(read):
                walk.points[k] = walk.points[k]._replace(denoised=walk.points[k].denoised + spoiled)
            steps.append(solver.step(walk, levels[i + 1]))
        assert torch.equal(*steps), f"step {i} reads more than {order} values"
        if order > 1:
            walk.points[-order] = walk.points[-order]._replace(denoised=walk.points[-order].denoised + 1.0)
            assert not torch.equal(solver.step(walk, levels[i + 1]), steps[1])


def test_dpmpp_keeps_its_order_from_15_steps_on():
    levels = [80 * 0.6**i for i in range(16)]
    ends = []
    for n in (14, 15):
        walk = walk_of_denoised(polynomial_in_lambda(3), levels[n - 2 : n])
        walk.levels, walk.done = levels[: n + 1], n - 1
        ends.append(samplers.get("dpmpp_2m").step(walk, levels[n]))
        s, t, d = levels[n - 1], levels[n], walk.points[-1].denoised
        assert close(ends[-1], d + t / s * (X - d)) == (n == 14)


@pytest.mark.parametrize("calls", range(1, 40))
def test_mixed_orders_spend_the_calls(calls):
    """floor(N / 3) + 1 intervals; the last two are of orders 2 and 1, or the last is of 1 or 2."""
    orders = mixed_orders(calls)
    assert sum(orders) == calls
    assert len(orders) == calls // 3 + 1
    ends = {0: [2, 1], 1: [1], 2: [2]}[calls % 3]
    assert orders[len(orders) - len(ends) :] == ends
    assert set(orders[: len(orders) - len(ends)]) <= {3}


@pytest.mark.parametrize("h", [1.0, 0.1, 1e-3])
def test_unipc_coefficients_solve_the_moment_conditions(h):
    """sum_m (rho_m / r_m) r_m^k (1 - e^-h) = integral of e^-(h - v) (v / h)^k dv over a step, k = 1, 2, 3."""
    nodes = [-0.7, -1.9, 1.0]
    rho = coefficients(nodes, h)
    for k in (1, 2, 3):
        moment = quad(lambda u, k=k: math.exp(-h * (1 - u)) * u**k * h, 0, 1, epsabs=0, epsrel=1e-12)[0]
        got = sum(r / node * node**k for r, node in zip(rho, nodes, strict=True)) * -math.expm1(-h)
        assert got == pytest.approx(moment, rel=max(1e-12, 1e-14 / h**3))  # phi_4 cancels as h^-3


def step_of_model(name: str, eps) -> torch.Tensor:
    """One step from NODES[-1] to T where the model's eps depends on sigma alone."""
    s = NODES[-1]
    return samplers.get(name).step(walk_of_eps(eps, [s], lambda x, sigma: x - sigma * eps(sigma)), T)


def test_dpm_solver_3_is_exact_for_a_line_in_lambda():
    """Its last formula draws a line through eps at s and at s_2, two thirds of the way in lambda."""

    def eps(sigma):
        return polynomial(-math.log(sigma), 1)

    assert close(step_of_model("dpm_solver_3", eps), X + integral(eps, NODES[-1], T))


def test_dpm_solver_2_takes_eps_at_the_middle_in_lambda():
    def eps(sigma):
        return polynomial(-math.log(sigma), 3)

    s = NODES[-1]
    assert close(step_of_model("dpm_solver_2", eps), X + (T - s) * eps(math.sqrt(s * T)))


def test_res_is_exact_for_a_line_in_lambda():
    denoised, s = polynomial_in_lambda(1), NODES[-1]
    walk = walk_at([(s, X, denoised(s))], lambda x, sigma: denoised(sigma), SCHEDULE)
    assert close(samplers.get("res").step(walk, T), exact_from_denoised(denoised, s, T))


def test_heun_is_exact_for_a_line_in_sigma():
    def eps(sigma):
        return polynomial(sigma, 1)

    assert close(step_of_model("heun", eps), X + integral(eps, NODES[-1], T))


@pytest.mark.parametrize(
    "name", [n for n in samplers.names() if samplers.card(n).deterministic and not samplers.card(n).training]
)
def test_constant_denoised_image_is_reached(name):
    """A model that always says the same image: data at one point; every solver must end on it, and stay on the line to it."""
    image = torch.tensor([0.3, -0.6], dtype=torch.float64)[:, None, None]

    class OnePoint:
        sigma_min, sigma_max, shape, num_classes = 0.002, 80.0, (2, 1, 1), 0

        def __call__(self, x, sigma, labels=None):
            return image.to(x).expand_as(x)

    z = samplers.noise(0, range(2), (2, 1, 1), dtype=torch.float64)
    seen = []
    out = samplers.get(name).sample(OnePoint(), z, steps=6, callback=lambda i, t, x, d: seen.append((t, x)))
    assert torch.allclose(out, image + seen[-1][0] * (z - image / 80.0))
    for t, x in seen:
        assert torch.allclose(x, image + t * (z - image / 80.0), rtol=0, atol=1e-12)
