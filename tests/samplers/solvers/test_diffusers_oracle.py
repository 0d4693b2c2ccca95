"""Step by step against diffusers' schedulers, their noise levels set by hand to ours, compared as VP states to 1e-5.

A VP state is x / sqrt(1 + sigma^2); at sigma = 0 both are the image.
"""

from itertools import pairwise

import pytest
import torch
from exact import Gaussian, Mixture

import samplers
from samplers.schedule import Cosine, sigmas

diffusers = pytest.importorskip("diffusers")

STEPS = 16  # from 15 on diffusers does not lower the order at the end by itself, but UniPC's always
SHORT = 7
SCHEDULE = Cosine(0.002, 80.0)


@pytest.fixture(params=[Gaussian, Mixture], ids=["gaussian", "mixture"])
def denoiser(request):
    return request.param()


def starting_noise(denoiser):
    return samplers.noise(5, range(4), denoiser.shape, dtype=torch.float64)


def to_vp(x: torch.Tensor, sigma: float) -> torch.Tensor:
    return x / (1 + sigma**2) ** 0.5


def ours(spec: str, denoiser, steps: int = STEPS) -> list[tuple[float, torch.Tensor]]:
    """(sigma, VP state) after each step."""
    states = []
    samplers.get(spec).sample(
        denoiser, starting_noise(denoiser), steps=steps, callback=lambda i, t, x, d: states.append((t, to_vp(x, t)))
    )
    return states


def levels_of(spec: str, denoiser, steps: int) -> list[float]:
    return samplers.get(spec).levels(denoiser, steps)


def predict(denoiser, x_vp: torch.Tensor, sigma: float) -> torch.Tensor:
    return denoiser(x_vp * (1 + sigma**2) ** 0.5, sigma)


def set_levels(scheduler, levels: list[float]):
    """Give a sigma-based scheduler these noise levels in place of its own."""
    scheduler.set_timesteps(len(levels) - 1)
    scheduler.sigmas = torch.tensor(levels, dtype=torch.float64)
    scheduler.timesteps = torch.arange(len(levels) - 1).flip(0)
    scheduler._step_index = 0
    return scheduler


def walk(scheduler, denoiser, levels: list[float]) -> list[torch.Tensor]:
    """VP states after each step of a sigma-based scheduler that takes D as its model's output."""
    x, states = to_vp(starting_noise(denoiser) * levels[0], levels[0]), []
    for s, timestep in zip(levels[:-1], scheduler.timesteps, strict=True):
        x = scheduler.step(predict(denoiser, x, s), timestep, x).prev_sample
        states.append(x)
    return states


def assert_same(mine: list[tuple[float, torch.Tensor]], expected: list[torch.Tensor]) -> None:
    assert len(mine) == len(expected)
    for (_, x), y in zip(mine, expected, strict=True):
        torch.testing.assert_close(x, y.double(), rtol=1e-5, atol=1e-5)


def table(levels: list[float]) -> torch.Tensor:
    """alphas_cumprod of a discrete scheduler whose step k is our node k from the end, N steps for N entries."""
    return 1 / (1 + torch.tensor(levels[:-1], dtype=torch.float64).flip(0) ** 2)


@pytest.mark.parametrize("grid", ["uniform_t", "quadratic", "logsnr"])
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ddim(eta, grid, denoiser):
    levels = sigmas(SCHEDULE, STEPS, grid)
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=STEPS, clip_sample=False, prediction_type="sample")
    scheduler.set_timesteps(STEPS)
    scheduler.alphas_cumprod = table(levels)
    fresh = samplers.FreshNoise(starting_noise(denoiser))
    x, states = to_vp(starting_noise(denoiser) * levels[0], levels[0]), []
    for i, s in enumerate(levels[:-1]):
        # Their last step adds noise times 0.
        x = scheduler.step(predict(denoiser, x, s), STEPS - 1 - i, x, eta=eta, variance_noise=fresh(i)).prev_sample
        states.append(x)
    assert_same(ours(f"ddim:eta={eta}:grid={grid}", denoiser), states)


def test_ddpm(denoiser, monkeypatch):
    """Their posterior mean and variance (fixed_small, Ho et al., eq. 7), with our noise in place of theirs."""
    levels = sigmas(SCHEDULE, STEPS, "uniform_t")
    scheduler = diffusers.DDPMScheduler(
        num_train_timesteps=STEPS, clip_sample=False, prediction_type="sample", variance_type="fixed_small"
    )
    scheduler.set_timesteps(STEPS)
    scheduler.alphas_cumprod = table(levels)
    fresh, step = samplers.FreshNoise(starting_noise(denoiser)), iter(range(STEPS))
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *args, **kwargs: fresh(next(step)))
    x, states = to_vp(starting_noise(denoiser) * levels[0], levels[0]), []
    for timestep, s in zip(scheduler.timesteps, levels[:-1], strict=True):
        x = scheduler.step(predict(denoiser, x, s), timestep, x).prev_sample
        states.append(x)
    assert_same(ours("ddpm", denoiser), states)


@pytest.mark.parametrize("steps", [2, SHORT, 14, STEPS])
@pytest.mark.parametrize("last", ["", ":last=denoise", ":grid=karras:last=denoise"])
@pytest.mark.parametrize(("name", "order"), [("dpmpp_2m", 2), ("dpmpp_3m", 3)])
def test_dpmpp_as_published(name, order, last, steps, denoiser):
    """Their defaults, which lower the order at the end of fewer than 15 steps; to the end of ours, and to 0."""
    levels = levels_of(name + last, denoiser, steps)
    final = "zero" if last else "sigma_min"
    scheduler = diffusers.DPMSolverMultistepScheduler(solver_order=order, prediction_type="sample", final_sigmas_type=final)
    assert_same(ours(name + last, denoiser, steps), walk(set_levels(scheduler, levels), denoiser, levels))


@pytest.mark.parametrize("tau", [0.0, 0.6])
@pytest.mark.parametrize(("predictor", "corrector"), [(3, 4), (2, 2), (1, 0)])
@pytest.mark.parametrize("steps", [SHORT, STEPS])
def test_sa_solver(steps, predictor, corrector, tau, denoiser, monkeypatch):
    """With our noise in place of theirs, and without what they add to the weights of two values."""
    spec = f"sa_solver:tau={tau}:tau_from=0.1:tau_to=10:predictor={predictor}:corrector={corrector}:grid=logsnr"
    levels = levels_of(spec, denoiser, steps)
    scheduler = diffusers.SASolverScheduler(
        predictor_order=predictor,
        corrector_order=corrector or 1,
        prediction_type="sample",
        tau_func=lambda i: tau if 0.1 <= levels[steps - 1 - int(i)] <= 10 else 0.0,
    )
    of = scheduler.get_coefficients_fn

    def as_in_the_paper(order, start, end, nodes, tau):
        found, p, h = of(order, start, end, nodes, tau), 1 + tau**2, end - start
        if order == 2:
            line = (h * p - 1 + torch.exp(-p * h)) / p**2
            added = h / 2 - line / h if nodes[0] == end else (h**2 / 2 - line) / (nodes[0] - nodes[1])
            found = [found[0] - torch.exp(p * end) * added, found[1] + torch.exp(p * end) * added]
        return found

    fresh, step = samplers.FreshNoise(starting_noise(denoiser)), iter(range(steps))
    monkeypatch.setattr("diffusers.schedulers.scheduling_sasolver.randn_tensor", lambda *args, **kwargs: fresh(next(step)))
    monkeypatch.setattr(scheduler, "get_coefficients_fn", as_in_the_paper)
    if not corrector:
        monkeypatch.setattr(scheduler, "stochastic_adams_moulton_update", lambda this_sample, **_: this_sample)
    assert_same(ours(spec, denoiser, steps), walk(set_levels(scheduler, levels), denoiser, levels))


@pytest.mark.parametrize("grid", ["uniform_t", "logsnr", "karras"])
def test_dpmpp_3m_with_the_missing_factor_put_back(grid, denoiser, monkeypatch):
    """Theirs has h^2 D'' / 2 where the expansion has h^2 D''; with that half put back, every step is ours, without it not."""
    levels = sigmas(SCHEDULE, STEPS, grid)
    scheduler = diffusers.DPMSolverMultistepScheduler(solver_order=3, prediction_type="sample", final_sigmas_type="zero")
    kind, update = type(scheduler), diffusers.DPMSolverMultistepScheduler.multistep_dpm_solver_third_order_update

    def completed(self, outputs, *args, sample, noise=None, **kwargs):
        lam = -self.sigmas.log()
        i = self.step_index
        h, r0, r1 = lam[i + 1] - lam[i], lam[i] - lam[i - 1], lam[i - 1] - lam[i - 2]
        half = h**2 * ((outputs[-1] - outputs[-2]) / r0 - (outputs[-2] - outputs[-3]) / r1) / (r0 + r1)
        alpha_t = 1 / (1 + self.sigmas[i + 1] ** 2) ** 0.5
        missing = -alpha_t * ((torch.expm1(-h) + h) / h**2 - 0.5) * half
        return update(self, outputs, *args, sample=sample, noise=noise, **kwargs) + missing

    monkeypatch.setattr(kind, "multistep_dpm_solver_third_order_update", completed)
    mine = ours(f"dpmpp_3m:variant=corrected:grid={grid}:last=denoise", denoiser)
    assert_same(mine, walk(set_levels(scheduler, levels), denoiser, levels))
    monkeypatch.undo()
    bare = diffusers.DPMSolverMultistepScheduler(solver_order=3, prediction_type="sample", final_sigmas_type="zero")
    theirs = walk(set_levels(bare, levels), denoiser, levels)
    assert max(float((x - y).abs().max()) for (_, x), y in zip(mine, theirs, strict=True)) > 1e-3


@pytest.mark.filterwarnings("ignore:.*algorithm_types=dpmsolver:FutureWarning")
@pytest.mark.parametrize("order", [1, 2, 3])
def test_dpm_solver_singlestep(order, denoiser):
    """Their sub-steps are nodes of their grid: s, s_1, (s_2,) t. DPM-Solver-3 mixes their two types of update:
    its u_2 is their second-order "heun", its x_t their third-order "midpoint" (from eps_2 alone)."""
    spec = f"dpm_solver_{order}:last=denoise"
    levels = levels_of(spec, denoiser, STEPS)
    fine = []
    for s, t in pairwise(levels[:-1]):
        fine += [s * (t / s) ** (k / order) for k in range(order)]
    fine += levels[-2:]
    scheduler = diffusers.DPMSolverSinglestepScheduler(
        solver_order=order,
        prediction_type="sample",
        algorithm_type="dpmsolver",
        final_sigmas_type="sigma_min",
        lower_order_final=False,
    )
    scheduler.set_timesteps(order * (len(fine) // order))
    scheduler.sigmas = torch.tensor(fine, dtype=torch.float64)
    scheduler.order_list = list(range(1, order + 1)) * (STEPS - 1)
    scheduler._step_index = 0
    x, states = to_vp(starting_noise(denoiser) * levels[0], levels[0]), []
    for k, s in enumerate(fine[:-2]):
        sub_step = k % order + 1
        scheduler.register_to_config(solver_type="heun" if order == 3 and sub_step == 2 else "midpoint")
        x = scheduler.step(predict(denoiser, x, s), k, x).prev_sample
        if sub_step == order:
            states.append(x)
    states.append(predict(denoiser, x, levels[-2]))
    assert_same(ours(spec, denoiser), states)


@pytest.mark.parametrize("steps", [2, SHORT, STEPS])
@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize("setting", ["", ":grid=uniform_t", ":grid=karras:last=denoise", ":grid=uniform_t:last=denoise"])
def test_unipc_as_published(setting, variant, steps, denoiser):
    """UniPC-3 with data prediction and lower orders at the end. Their step returns the predictor's x, as ours does; to sigma 0
    their lambda is infinite, so that last one is made here: D at the predicted x, as theirs is by its first order."""
    spec = f"unipc:variant={variant}{setting}"
    levels = levels_of(spec, denoiser, steps)
    scheduler = diffusers.UniPCMultistepScheduler(
        solver_order=3, solver_type=variant, predict_x0=True, prediction_type="sample", lower_order_final=True
    )
    set_levels(scheduler, levels)
    x, states = to_vp(starting_noise(denoiser) * levels[0], levels[0]), []
    for s, t, timestep in zip(levels[:-1], levels[1:], scheduler.timesteps, strict=True):
        x = predict(denoiser, x, s) if t == 0 else scheduler.step(predict(denoiser, x, s), timestep, x).prev_sample
        states.append(x)
    assert_same(ours(spec, denoiser, steps), states)


@pytest.mark.parametrize("grid", ["karras", "uniform_t"])
def test_heun(grid, denoiser):
    """Their x is x0 + sigma eps, as ours; each of our steps is two of theirs, the last one."""
    levels = sigmas(SCHEDULE, STEPS, grid)
    scheduler = diffusers.HeunDiscreteScheduler(prediction_type="sample")
    scheduler.set_timesteps(STEPS)
    scheduler.sigmas = torch.tensor([levels[0], *(s for s in levels[1:-1] for _ in range(2)), 0.0], dtype=torch.float64)
    scheduler._step_index = 0
    x, states = starting_noise(denoiser) * levels[0], []
    for i, (s, t) in enumerate(pairwise(levels)):
        x = scheduler.step(denoiser(x, s), scheduler.timesteps[2 * i], x).prev_sample
        if t > 0:
            x = scheduler.step(denoiser(x, t), scheduler.timesteps[2 * i + 1], x).prev_sample
        states.append(to_vp(x, t))
    assert_same(ours(f"heun:grid={grid}", denoiser), states)
