"""What every solver does at its levels, on exact data in float64; what every sampler owes is in `samplers.conformance`."""

import pytest
import torch
from exact import Gaussian, Mixture

import samplers
from samplers import UserError
from samplers.schedule import GRIDS, vp_end

SOLVERS = [
    n for n in samplers.names() if issubclass(samplers.registry.load(n), samplers.Solver) and samplers.card(n).steps is None
]
"""Those that take any number of steps."""


def start(count=3, denoiser=Gaussian):
    return samplers.noise(0, range(count), denoiser.shape, dtype=torch.float64)


@pytest.mark.parametrize("name", SOLVERS)
def test_callback_tells_every_step(name):
    denoiser, told = Gaussian(), []
    sampler = samplers.get(name)
    out = sampler.sample(denoiser, start(), steps=6, callback=lambda *step: told.append(step))
    levels = sampler.levels(denoiser, 6)
    assert [i for i, *_ in told] == list(range(6))
    assert [t for _, t, *_ in told] == levels[1:]
    assert torch.equal(told[-1][2], out)
    before = start() * levels[0]
    for (_, _, x, denoised), s in zip(told, levels, strict=False):
        torch.testing.assert_close(denoised, denoiser(before, s), rtol=1e-12, atol=1e-12)
        before = x


@pytest.mark.parametrize("name", SOLVERS)
def test_the_last_step_to_0_is_the_denoised_image(name):
    told = []
    sampler = samplers.get(f"{name}:last=denoise")
    out = sampler.sample(Gaussian(), start(), steps=3, callback=lambda *step: told.append(step))
    assert told[-1][1] == 0
    assert torch.equal(out, told[-1][3])


@pytest.mark.parametrize("name", SOLVERS)
def test_one_step_to_0_is_one_denoising(name):
    z = start()
    image = samplers.get(f"{name}:last=denoise").sample(Gaussian(), z, steps=1)
    torch.testing.assert_close(image, Gaussian()(80.0 * z, 80.0), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("last", ["denoise", "stop"])
@pytest.mark.parametrize("name", SOLVERS)
def test_end_and_last_step_are_options(name, last):
    """The last node is the one asked for, whatever the grid; then comes 0, or nothing; and the card counts the calls."""
    for grid in GRIDS:
        sampler = samplers.get(f"{name}:grid={grid}:end=0.5:last={last}")
        levels = sampler.levels(Gaussian(), 6)
        assert (levels[-1] == 0) == (last == "denoise")
        assert [v for v in levels if v > 0][-1] == 0.5
        assert sampler.card.last == last
        calls = []

        class Counting(Gaussian):
            def __call__(self, x, sigma, labels=None):
                calls.append(sigma)  # noqa: B023
                return super().__call__(x, sigma)

        sampler.sample(Counting(), start(), steps=6)
        assert len(calls) == sampler.card.calls(6)


@pytest.mark.parametrize("name", SOLVERS)
def test_sampling_ends_where_the_teacher_lets_it(name):
    """No node is below `sigma_end`; an end that is asked for there is refused before anything is made."""
    denoiser = Gaussian()
    denoiser.sigma_end = 0.05
    for steps in (3, 20, 200):
        assert min(v for v in samplers.get(name).levels(denoiser, steps) if v > 0) >= 0.05
    with pytest.raises(UserError, match=r"no walk ends at sigma 0\.01 here; give an end from 0\.05"):
        samplers.get(f"{name}:end=0.01").prepare(denoiser, "cpu", 4)


def test_published_ends():
    """As their authors have them: DPM-Solver's and its kin's by the number of calls, EDM's and DDIM's the teacher's lowest."""
    ends = {n: [v for v in samplers.get(n).levels(Gaussian(), 10) if v > 0][-1] for n in SOLVERS}
    early = {"deis", "dpm_solver", "dpm_solver_1", "dpmpp_2m", "dpmpp_3m", "ipndm", "sa_solver", "unipc"}
    late = {"dpm_solver_2", "dpm_solver_3"}  # ten steps of them are 19 and 28 calls
    assert {n for n, end in ends.items() if end == vp_end(10)} == early
    assert {n for n, end in ends.items() if end == vp_end(19)} == late
    assert {n: end for n, end in ends.items() if n not in early | late} == {
        "euler": 0.002, "heun": 0.002, "res": 0.002, "ddim": pytest.approx(0.15895, abs=1e-4), "ddpm": ends["ddim"],
    }  # fmt: skip


def test_an_unknown_last_step():
    with pytest.raises(UserError, match="unknown last step 'sotp'; did you mean 'stop'"):
        samplers.get("heun:last=sotp")
    with pytest.raises(UserError, match="end must be a number, not 'low'"):
        samplers.get("heun:end=low")


@pytest.mark.parametrize("name", SOLVERS)
def test_sigma_given_to_the_denoiser_is_a_float(name):
    """No solver waits for a device: noise levels are Python numbers."""
    seen = []

    class Watching(Gaussian):
        def __call__(self, x, sigma, labels=None):
            seen.append(sigma)
            return super().__call__(x, sigma)

    samplers.get(name).sample(Watching(), start(), steps=5)
    assert {type(s) for s in seen} == {float}


def test_what_it_cannot_take_is_told():
    with pytest.raises(UserError, match="heun cannot take -1 steps; it takes any number from 1 on"):
        samplers.get("heun").sample(Gaussian(), start(), steps=-1)
    with pytest.raises(UserError, match=r"noise has shape \(3, 2, 1, 1\), the denoiser needs \(B, 6, 1, 1\)"):
        samplers.get("heun").sample(Gaussian(), start(denoiser=Mixture), steps=2)


def test_ddpm_is_ddim_with_eta_1():
    z = start()
    assert torch.equal(
        samplers.get("ddpm").sample(Gaussian(), z, steps=7), samplers.get("ddim:eta=1").sample(Gaussian(), z, steps=7)
    )


def test_ddim_euler_and_dpm_solver_1_are_one_method_on_three_grids():
    z = start()
    for grid in ("uniform_t", "karras", "logsnr", "quadratic"):
        specs = (f"{n}:grid={grid}:end=0.01:last=denoise" for n in ("ddim", "euler", "dpm_solver_1"))
        a, b, c = (samplers.get(spec).sample(Gaussian(), z, steps=7) for spec in specs)
        assert torch.equal(a, b)
        assert torch.equal(b, c)


def test_ddpm_samples_the_data():
    """Gaussian data, many small steps: mean and deviation of the images are the data's, within sampling error."""
    denoiser = Gaussian(0.02, 80.0)
    z = samplers.noise(1, range(600), denoiser.shape, dtype=torch.float64)
    out = samplers.get("ddpm:grid=logsnr").sample(denoiser, z, steps=80)
    assert ((out.mean(0) - denoiser.mu).abs() < 4.5 * denoiser.s / 600**0.5).all()
    # The last step leaves the posterior's spread out, and discretisation narrows the rest by a few per cent.
    assert ((out.std(0) / denoiser.s - 1).abs() < 0.15).all()
