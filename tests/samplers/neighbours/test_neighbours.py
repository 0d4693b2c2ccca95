"""Samplers of other libraries: their cards are measured, ours of the same formula agree, and verifying tells their faults."""

import math
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from exact import Gaussian, Mixture

import samplers
from samplers import UserError
from samplers.conformance.accuracy import error_of
from samplers.conformance.subject import Subject
from samplers.conformance.verify import CHECKS, made
from samplers.neighbours import diffusers_cards, k_diffusion
from samplers.neighbours.common import needed
from samplers.registry import neighbours

pytest.importorskip("diffusers")
pytest.importorskip("torchsde", reason="k-diffusion's samplers import it")
ALL = [n for n in neighbours() if not n.startswith("azula") or find_spec("azula") is not None]

TOLD = {
    "dtype": {"euler", "euler_ancestral", "heun", "dpm_2", "dpm_2_ancestral", "lms"},
    "generator": {"euler", "heun", "dpm_2"},
    "overhead": {"DEISMultistep", "SASolver", "UniPCMultistep"},
    "callback": {"dpm_fast", "PNDM"},
    "order": {"lms", "LMSDiscrete", "DDIM", "PNDM", "DEISMultistep"},
}
"""What `bench verify` has to tell of some of them, besides that all wait for the device and compute on the host.

The order of some cannot be measured over many steps in its short range: their step to 0 is no denoising, they round times.
"""
SLOW = {"dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde", "CosineDPMSolverMultistep", "DPMSolverSDE", "LMSDiscrete"}
"""Of hundreds of operators a step, for a Brownian tree or numerical integration."""


def short(name: str) -> str:
    return name.partition(":")[2].removeprefix("sample_").removesuffix("Scheduler").removesuffix("Sampler")


@pytest.mark.parametrize("name", ALL)
def test_what_verify_tells_of_them(name):
    subject, left_out = Subject(name), {"device", "waiting"}
    if short(name) in SLOW:
        subject.steps, left_out = [3, 5], left_out | {"overhead", "order"}
    failed = {c for c, check in CHECKS.items() if c not in left_out and made(c, check, subject).passed is False}
    assert failed == {check for check, names in TOLD.items() if short(name) in names and check not in left_out}


def spec_of(name: str) -> str:
    """With a grid on which an order shows."""
    card = samplers.card(name)
    if name.startswith("k_diffusion"):
        return f"{name}:last=stop" if card.grid else name
    if name.startswith("azula"):
        return f"{name}:grid=karras"
    if short(name) in ("DDIM", "PNDM"):
        return f"{name}:num_train_timesteps=20000"  # their times are whole numbers
    return f"{name}:grid=logsnr" if card.grid else name


@pytest.mark.parametrize("name", [n for n in ALL if neighbours()[n].order is not None and short(n) != "LMSDiscrete"])
def test_the_card_s_order_is_the_measured_one(name):
    subject = Subject(spec_of(name))
    few, many = (error_of(subject, n) for n in (21, 42))
    assert math.log2(few / many) == pytest.approx(3 if short(name) == "UniPCMultistep" else samplers.card(name).order, abs=0.3)


def test_lms_is_of_second_order_between_nodes():
    """diffusers' has no grid that stops, and is k-diffusion's."""
    for steps in (4, 9):
        names = ("diffusers:LMSDiscreteScheduler", "k_diffusion:sample_lms")
        images = [run(f"{name}:grid=karras", Mixture(), steps) for name in names]
        torch.testing.assert_close(*images, rtol=1e-4, atol=1e-4)


def run(spec: str, denoiser, steps: int) -> torch.Tensor:
    z = samplers.noise(0, range(3), denoiser.shape, dtype=torch.float64)
    return samplers.get(spec).sample(denoiser, z, steps=steps)


@pytest.mark.parametrize(
    ("ours", "theirs", "within"),
    [
        ("euler:grid=karras:last=denoise", "k_diffusion:sample_euler", 1e-9),
        ("heun:grid=logsnr:last=stop", "k_diffusion:sample_heun:grid=logsnr:last=stop", 1e-9),
        ("dpm_solver_2:grid=karras:end=0.002:last=denoise", "k_diffusion:sample_dpm_2", 1e-9),
        ("dpmpp_2m:grid=karras:end=0.002:last=denoise", "k_diffusion:sample_dpmpp_2m", 1e-9),
        ("euler:grid=karras", "k_diffusion:sample_euler_ancestral:eta=0", 1e-9),
        ("ddpm:grid=karras", "k_diffusion:sample_euler_ancestral", 1e-9),
        ("euler:grid=logsnr:last=stop", "azula:EulerSampler:grid=logsnr", 1e-9),
        ("euler:grid=logsnr", "diffusers:EulerDiscreteScheduler:grid=logsnr", 1e-4),
        ("euler:grid=karras", "diffusers:EDMEulerScheduler", 1e-4),
        ("euler:grid=logsnr", "diffusers:FlowMatchEulerDiscreteScheduler:grid=logsnr", 1e-4),
        ("heun:grid=karras", "diffusers:HeunDiscreteScheduler:use_karras_sigmas=true", 1e-2),
        ("dpmpp_2m:grid=logsnr:end=0.002:last=denoise", "diffusers:DPMSolverMultistepScheduler:grid=logsnr", 1e-4),
        ("dpmpp_2m:grid=karras:end=0.002:last=denoise", "diffusers:EDMDPMSolverMultistepScheduler", 1e-4),
    ],
)  # fmt: skip
def test_ours_of_the_same_formula_gives_the_same_images(ours, theirs, within):
    if theirs.startswith("azula") and find_spec("azula") is None:
        pytest.skip("azula is not installed")
    for steps in (16, 5):
        torch.testing.assert_close(run(ours, Gaussian(), steps), run(theirs, Gaussian(), steps), rtol=within, atol=within)


def told_off(spec: str, steps: int = 20) -> float:
    """How far the level that the network is told is from the one the update uses, at worst."""

    class Cosine(Gaussian):
        def __init__(self):
            super().__init__()
            self.told = []

        def __call__(self, x, sigma, labels=None):
            self.told.append(sigma)
            return super().__call__(x, sigma)

    denoiser, sampler = Cosine(), samplers.get(spec)
    z = samplers.noise(0, range(1), denoiser.shape, dtype=torch.float64)
    sampler.sample(denoiser, z, steps=steps)
    return max(abs(told / used - 1) for told, used in zip(denoiser.told, sampler.levels(denoiser, steps), strict=False))


@pytest.mark.parametrize(
    ("spec", "off"),
    [
        ("DPMSolverMultistepScheduler", 0),
        ("DPMSolverMultistepScheduler:use_karras_sigmas=true", 0.041),
        ("UniPCMultistepScheduler:use_beta_sigmas=true", 0.099),
        ("DEISMultistepScheduler:use_exponential_sigmas=true", 0.43),
        ("DPMSolverMultistepScheduler:grid=karras", 0),
        ("EulerDiscreteScheduler", 8e-4),
        ("DDIMScheduler", 0),
    ],
)
def test_the_levels_told_are_off_by_what_the_cards_say(spec, off):
    assert told_off(f"diffusers:{spec}") == pytest.approx(off, rel=0.1, abs=2e-5)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("k_diffusion:sample_huen", "unknown sampler of k_diffusion 'sample_huen'; did you mean 'sample_heun'"),
        ("k_diffusion:sample_heun:eta=1", "unknown option of k_diffusion:sample_heun 'eta'"),
        ("k_diffusion:sample_heun:grid=karas", "unknown grid 'karas'; did you mean 'karras'"),
        ("k_diffusion:sample_heun:s_churn=1", "unknown option"),
        ("diffusers:DDIMSchedule", "unknown sampler of diffusers 'DDIMSchedule'; did you mean 'DDIMScheduler'"),
        ("diffusers:LCMScheduler", "diffusers:LCMScheduler is no sampler here: it samples consistency models"),
        ("k_diffusion:sample_dpm_adaptive", "is no sampler here: its calls follow from tolerances"),
        ("azula:DDPMSampler", "is no sampler here: it draws from the global generator"),
        ("diffusers:UniPCMultistepScheduler:solver_order=1.5", "solver_order must be a whole number, not '1.5'"),
        ("diffusers:DDIMScheduler:grid=karras", "keeps its own grid"),
        ("diffusers:UniPCMultistepScheduler:end=0.1", "its own grid has its own end"),
        ("diffusers:UniPCMultistepScheduler:use_karras_sigmas=2", "use_karras_sigmas must be true or false, not '2'"),
        ("diffusers:UniPCMultistepScheduler:solver_type=bh3", "refuses its options"),
    ],
)
def test_a_mistake_is_one_line(spec, told):
    with pytest.raises(UserError, match=told) as e:
        samplers.get(spec)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["EDMEulerScheduler", "EDMDPMSolverMultistepScheduler", "CosineDPMSolverMultistepScheduler"])
def test_preconditioning_is_the_scheduler_s(name):
    kind = samplers.get(f"diffusers:{name}")
    theirs, ours = kind.kind(), kind.space(Gaussian(), 0.002, 1000)
    x, denoised = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for sigma in (0.01, 0.7, 60.0):
        level = torch.tensor(sigma, dtype=torch.float64)
        assert float(theirs.precondition_noise(level)) == pytest.approx(ours.time(sigma))
        assert ours.level(ours.time(sigma)) == pytest.approx(sigma)
        torch.testing.assert_close(theirs.precondition_inputs(x, level) * ours.seen(sigma), x)
        torch.testing.assert_close(theirs.precondition_outputs(x, ours.output(x, denoised, sigma), level), denoised)


def test_options_are_the_library_s_and_change_the_card():
    assert run("diffusers:DPMSolverMultistepScheduler:solver_order=3", Gaussian(), 9).isfinite().all()
    sde = samplers.get("diffusers:DPMSolverMultistepScheduler:algorithm_type=sde-dpmsolver++").card
    assert (sde.deterministic, sde.order) == (False, None)
    assert samplers.get("diffusers:PNDMScheduler:skip_prk_steps=true").card.calls(5) == 6
    assert samplers.get("k_diffusion:sample_dpmpp_2m_sde:eta=0").card.deterministic


def test_a_missing_library_is_one_line_with_the_command():
    with pytest.raises(UserError, match=r"no_such_library is not installed; pip install 'sampler-bench\[extra\]'"):
        needed("no_such_library", "extra")


def test_no_sampler_of_a_library_is_forgotten():
    import diffusers

    theirs = {name for name in dir(k_diffusion.sampling()) if name.startswith("sample_")}
    assert theirs == {*k_diffusion.CARDS, *k_diffusion.LEFT_OUT}
    theirs = {name for name in dir(diffusers) if name.endswith("Scheduler")}
    assert theirs - {*diffusers_cards.CARDS, *diffusers_cards.LEFT_OUT} == set()


def test_cards_are_listed_without_their_libraries():
    program = "import sys; from samplers.registry import neighbours; assert neighbours(); print('diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("ddim", ["diffusers:DDIMScheduler"]),
        ("euler:grid=karras", ["k_diffusion:sample_euler", "diffusers:EulerDiscreteScheduler:grid=karras"]),
        ("heun:grid=karras", ["k_diffusion:sample_heun", "diffusers:HeunDiscreteScheduler:use_karras_sigmas=true"]),
        ("dpmpp_2m:grid=karras", ["k_diffusion:sample_dpmpp_2m", "diffusers:DPMSolverMultistepScheduler:grid=karras"]),
        ("unipc:grid=karras", ["diffusers:UniPCMultistepScheduler:grid=karras:solver_order=3"]),
        ("deis:grid=karras", ["diffusers:DEISMultistepScheduler:grid=karras:solver_order=3"]),
    ],
)
def test_ours_takes_less_than_half_of_their_arithmetic(ours, theirs):
    own, *others = (Subject(spec).watched(10).own for spec in (ours, *theirs))
    assert own < min(others) / 2
