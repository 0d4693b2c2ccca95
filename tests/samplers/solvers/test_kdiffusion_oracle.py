"""Step by step against k-diffusion's samplers, on the same noise levels, in float64."""

import importlib.util
import sys
import warnings
from itertools import pairwise
from types import ModuleType

import pytest
import torch
from exact import Gaussian, Mixture, walk_at

import samplers
from samplers.schedule import Cosine, sigmas, vp_end

pytest.importorskip("torchdiffeq", reason="k-diffusion's samplers import it")
pytest.importorskip("torchsde", reason="k-diffusion's samplers import it")


def k_sampling() -> ModuleType:
    """`k_diffusion.sampling`, under an empty parent where the package's own __init__ does not import (clip, dctorch)."""
    spec = importlib.util.find_spec("k_diffusion")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("k-diffusion is not installed", allow_module_level=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("k_diffusion.sampling")
    except Exception:
        for name in [m for m in sys.modules if m.partition(".")[0] == "k_diffusion"]:
            del sys.modules[name]
        parent = ModuleType("k_diffusion")
        parent.__path__ = list(spec.submodule_search_locations)
        sys.modules["k_diffusion"] = parent
        return importlib.import_module("k_diffusion.sampling")


K = k_sampling()
STEPS = 12


@pytest.fixture(params=[Gaussian, Mixture], ids=["gaussian", "mixture"])
def denoiser(request):
    return request.param()


def starting_noise(denoiser):
    return samplers.noise(3, range(4), denoiser.shape, dtype=torch.float64)


def ours(spec: str, denoiser) -> list[torch.Tensor]:
    """The state after each step."""
    states = []
    samplers.get(spec).sample(denoiser, starting_noise(denoiser), steps=STEPS, callback=lambda i, t, x, d: states.append(x))
    return states


def levels(denoiser, spec: str) -> torch.Tensor:
    return torch.tensor(samplers.get(spec).levels(denoiser, STEPS), dtype=torch.float64)


def theirs(function, denoiser, spec: str, **options) -> list[torch.Tensor]:
    """The state after each step, on our levels: their callback tells the state before it."""
    states, grid_levels = [], levels(denoiser, spec)
    start = starting_noise(denoiser) * grid_levels[0]
    out = function(denoiser, start, grid_levels, callback=lambda info: states.append(info["x"]), disable=True, **options)
    return [*states[1:], out]


def assert_same(a: list[torch.Tensor], b: list[torch.Tensor]) -> None:
    assert len(a) == len(b) == STEPS
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-9)  # asked for: 1e-5; the arithmetic is the same in float64


@pytest.mark.parametrize("grid", ["karras", "logsnr", "uniform_t", "quadratic"])
@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("ddim", "sample_euler"),
        ("euler", "sample_euler"),
        ("dpm_solver_1", "sample_euler"),
        ("heun", "sample_heun"),
        ("dpm_solver_2", "sample_dpm_2"),
        ("dpmpp_2m", "sample_dpmpp_2m"),
    ],
)
def test_equals_their_sampler(name, function, grid, denoiser):
    spec = f"{name}:grid={grid}:last=denoise"
    assert_same(ours(spec, denoiser), theirs(getattr(K, function), denoiser, spec))


def test_euler_ancestral_with_our_noise_is_ddpm(denoiser):
    fresh, step = samplers.FreshNoise(starting_noise(denoiser)), iter(range(STEPS))
    expected = theirs(K.sample_euler_ancestral, denoiser, "ddpm", noise_sampler=lambda s, t: fresh(next(step)))
    assert_same(ours("ddpm", denoiser), expected)


def test_ddim_eta_is_their_ancestral_eta(denoiser):
    fresh, step = samplers.FreshNoise(starting_noise(denoiser)), iter(range(STEPS))
    expected = theirs(K.sample_euler_ancestral, denoiser, "ddim", eta=0.4, noise_sampler=lambda s, t: fresh(next(step)))
    assert_same(ours("ddim:eta=0.4", denoiser), expected)


@pytest.mark.parametrize("noise", [1.0, 1.007])
def test_heun_with_churn_is_theirs_with_our_noise(noise, denoiser, monkeypatch):
    """EDM's algorithm 2, on the levels where its network is used; up to the teacher's highest ours lifts no further."""
    fresh, turn = samplers.FreshNoise(starting_noise(denoiser)), iter(range(STEPS))
    monkeypatch.setattr(torch, "randn_like", lambda x: fresh(next(turn)))
    spec = "heun:grid=karras"
    options = {"s_churn": 4.0, "s_tmin": 0.05, "s_tmax": 50.0, "s_noise": noise}
    expected = theirs(K.sample_heun, denoiser, spec, **options)[-1]
    mine = ours(f"{spec}:churn=4:churn_from=0.05:churn_to=50:churn_noise={noise}", denoiser)[-1]
    torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)
    assert (mine - ours(spec, denoiser)[-1]).abs().max() > 0.01


@pytest.mark.parametrize("order", [1, 2, 3])
def test_equals_their_dpm_solver_class(order, denoiser):
    solver, spec = K.DPMSolver(denoiser), f"dpm_solver_{order}:last=denoise"
    grid_levels = levels(denoiser, spec)
    x, states = starting_noise(denoiser) * grid_levels[0], []
    for s, t in pairwise(grid_levels[:-1]):
        x, _ = getattr(solver, f"dpm_solver_{order}_step")(x, solver.t(s), solver.t(t))
        states.append(x)
    states.append(denoiser(x, grid_levels[-2]))
    assert_same(ours(spec, denoiser), states)


@pytest.mark.parametrize("calls", range(1, 14))
def test_dpm_solver_is_their_fast_method(calls, denoiser, monkeypatch):
    """Mixed orders, to where the published walk stops."""
    linspace = torch.linspace
    monkeypatch.setattr(torch, "linspace", lambda *args, **options: linspace(*args, **options, dtype=torch.float64))
    mine, seen = samplers.get("dpm_solver").sample(denoiser, starting_noise(denoiser), steps=calls), []
    solver = K.DPMSolver(lambda x, sigma: (seen.append(sigma), denoiser(x, sigma))[1])
    ends = (solver.t(torch.tensor(s, dtype=torch.float64)) for s in (80.0, vp_end(calls)))
    theirs = solver.dpm_solver_fast(starting_noise(denoiser) * 80.0, *ends, nfe=calls)
    assert len(seen) == calls
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def their_third_step(denoised, nodes, t):
    """x where `sample_dpmpp_3m_sde` with eta = 0 starts its third step, from D at three nodes, and x after it, at t."""
    seen = []
    out = K.sample_dpmpp_3m_sde(
        lambda x, sigma: denoised(float(sigma[0])),
        torch.tensor([0.4, -0.9], dtype=torch.float64)[None, :, None, None],
        torch.tensor([*nodes, t], dtype=torch.float64),
        callback=lambda info: seen.append(info["x"]),
        disable=True,
        eta=0.0,
        noise_sampler=lambda s, t: 0.0,
    )
    return seen[-1], out


def test_dpmpp_3m_corrected_differs_from_theirs_by_half_of_the_second_derivative():
    """As published it is theirs. x_t = (t / s) x + integral over the step of e^-(h - v) (D + D' v + D'' v^2 / 2) dv.

    The last term is D'' (h^2 / 2 - (h - 1 + e^-h)). Their phi_3 is (h - 1 + e^-h) / h^2 - 1/2, so it is -phi_3 h^2 D''; they
    multiply phi_3 by d2 = (d1_0 - d1_1) / (r0 + r1), the second divided difference in units of h, which is h^2 D'' / 2.
    So theirs lacks -phi_3 d2, with the sign of the whole term.
    """
    nodes, t = [9.0, 5.0, 2.0], 0.9
    image = torch.tensor([0.7, -1.3], dtype=torch.float64)[None, :, None, None]

    def denoised(sigma):
        return image / (1 + sigma) + image**2 * sigma**0.3

    x, out = their_third_step(denoised, nodes, t)
    walk = walk_at([(s, x, denoised(s)) for s in nodes])
    mine = samplers.get("dpmpp_3m:variant=corrected").step(walk, t)
    torch.testing.assert_close(samplers.get("dpmpp_3m").step(walk, t), out, rtol=1e-12, atol=1e-12)

    l2, l1, l0, lt = (-torch.tensor([*nodes, t], dtype=torch.float64).log()).tolist()
    h = lt - l0
    first, second = (denoised(2.0) - denoised(5.0)) / (l0 - l1), (denoised(5.0) - denoised(9.0)) / (l1 - l2)
    curvature = 2 * (first - second) / (l0 - l2)  # D'', of the parabola through the three
    phi_3 = (h + torch.expm1(torch.tensor(-h, dtype=torch.float64))) / h**2 - 0.5
    torch.testing.assert_close(mine - out, -phi_3 * h**2 * curvature / 2, rtol=1e-10, atol=1e-12)
    assert (mine - out).abs().min() > 1e-3


def test_3m_as_published_is_second_order_where_the_corrected_is_third():
    """By convergence, and theirs as ours, from the same exact start; on the full range, where the warm-up does not show."""
    denoiser, errors = Mixture(), {"published": [], "corrected": []}
    z = starting_noise(denoiser)
    end = denoiser.exact(z * 80.0, 80.0, [0.002])[0]
    exact = denoiser(end, 0.002)
    for n in (96, 192):
        grid_levels = torch.tensor(sigmas(Cosine(0.002, 80.0), n, "karras"), dtype=torch.float64)
        theirs = K.sample_dpmpp_3m_sde(denoiser, z * 80.0, grid_levels, disable=True, eta=0.0, noise_sampler=lambda s, t: 0.0)
        for variant, found in errors.items():
            out = samplers.get(f"dpmpp_3m:variant={variant}:grid=karras:last=denoise").sample(denoiser, z, steps=n)
            found.append(float((out - exact).norm()))
        assert float((theirs - exact).norm()) == pytest.approx(errors["published"][-1], rel=0.05)  # but for its second step
    assert errors["published"][0] / errors["published"][1] == pytest.approx(2**2, rel=0.15)
    assert errors["corrected"][0] / errors["corrected"][1] == pytest.approx(2**3, rel=0.15)


def test_karras_grid_is_theirs():
    expected = K.get_sigmas_karras(17, 0.002, 80.0).double()
    torch.testing.assert_close(torch.tensor(sigmas(Cosine(0.002, 80.0), 17, "karras")).double(), expected, rtol=1e-5, atol=0)


def test_logsnr_grid_is_theirs():
    expected = K.get_sigmas_exponential(17, 0.002, 80.0).double()
    torch.testing.assert_close(torch.tensor(sigmas(Cosine(0.002, 80.0), 17, "logsnr")).double(), expected, rtol=1e-5, atol=0)
