"""Models told a text give the latents of the library's own pipelines; prompts are classes."""

import dataclasses
import math
import shutil
from functools import cache

import diffusers
import pytest
import text_models
import torch
from diffusers_models import ours, start
from safetensors.torch import load_file
from text_models import SCALED

import samplers
from samplers import UserError, load_teacher
from samplers.models.guidance import guided

PROMPTS = ["a cat", "two dogs and a bird"]
LABELS = torch.tensor([0, 1])
STEPS = 4


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """(pipeline, folder) of a maker of `text_models`, made and saved once."""

    @cache
    def make(name: str, *args):
        pipeline = getattr(text_models, name)(*args)
        pipeline.save_pretrained(root := tmp_path_factory.mktemp(name))
        return pipeline, root

    return make


def close(x: torch.Tensor, y: torch.Tensor) -> None:
    assert y.std() > 0.05
    torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4)


def latents(pipeline, z: torch.Tensor, **told) -> torch.Tensor:
    told = {"num_inference_steps": STEPS, "output_type": "latent"} | told
    return pipeline(PROMPTS, latents=z, **told).images


DISCRETE = {
    "ddim": lambda: diffusers.DDIMScheduler(clip_sample=False, steps_offset=1, **SCALED),
    "euler": lambda: diffusers.EulerDiscreteScheduler(timestep_spacing="leading", steps_offset=1, **SCALED),
    "dpmpp_2m": lambda: diffusers.DPMSolverMultistepScheduler(timestep_spacing="leading", steps_offset=1, **SCALED),
}


@pytest.mark.parametrize("weight", [1.0, 3.0])
@pytest.mark.parametrize("solver", DISCRETE)
@pytest.mark.parametrize("name", ["stable_diffusion", "stable_diffusion_xl"])
@torch.no_grad()
def test_stable_diffusion(name, solver, weight, saved):
    pipeline, root = saved(name)
    teacher, z = load_teacher(f"diffusers:{root}", prompts=PROMPTS), start((4, 8, 8))
    assert (teacher.shape, teacher.image_shape, teacher.num_classes, teacher.unconditional) == ((4, 8, 8), (3, 16, 16), 2, True)
    pipeline.scheduler = DISCRETE[solver]()
    expected = latents(pipeline, z, guidance_scale=weight)
    close(ours(solver, guided(teacher, weight), pipeline.scheduler, z, LABELS), expected)
    assert teacher.describe().parameters == sum(p.numel() for p in pipeline.unet.parameters())


@torch.no_grad()
def test_ddim_as_its_authors_set_it_ends_at_the_lowest_level(saved):
    """Stable Diffusion's own scheduler has set_alpha_to_one false: its latents are of unit variance with that noise in them."""
    pipeline, root = saved("stable_diffusion")
    teacher, z = load_teacher(f"diffusers:{root}", prompts=PROMPTS), start((4, 8, 8))
    pipeline.scheduler = diffusers.DDIMScheduler.from_pretrained(root / "scheduler")
    theirs = latents(pipeline, z, guidance_scale=3.0)
    levels = [*(teacher.schedule.sigma(float(t)) for t in pipeline.scheduler.timesteps), teacher.sigma_min]
    x = z * math.hypot(1, levels[0]) / levels[0]
    x = samplers.get("ddim").integrate(guided(teacher, 3.0), x, levels, labels=LABELS)
    close(x / math.hypot(1, levels[-1]), theirs)


@torch.no_grad()
def test_no_prompt_of_sdxl_is_zeros_unless_it_says_otherwise(saved, tmp_path):
    _, root = saved("stable_diffusion_xl")
    teacher, z = load_teacher(f"diffusers:{root}", prompts=PROMPTS), start((4, 8, 8))
    assert not teacher.encoder_hidden_states[-1].any()
    pipeline = text_models.stable_diffusion_xl(force_zeros_for_empty_prompt=False)
    pipeline.save_pretrained(tmp_path)
    other = load_teacher(f"diffusers:{tmp_path}", prompts=PROMPTS)
    assert other.encoder_hidden_states[-1].any()
    expected = latents(pipeline, z, guidance_scale=3.0)
    close(ours("euler", guided(other, 3.0), pipeline.scheduler, z, LABELS), expected)
    assert not torch.allclose(other(z, 1.0), teacher(z, 1.0), atol=1e-3)


def flow(teacher, scheduler, z: torch.Tensor) -> torch.Tensor:
    """Euler over the levels that a flow's scheduler was run on, whose first, t = 1, is infinity."""
    grid = [min(float(t / (1 - t)), 1e6) for t in scheduler.sigmas]
    return samplers.get("euler").integrate(teacher, z * (1 + grid[0]) / grid[0], grid, labels=LABELS)


@pytest.mark.parametrize("t5", [True, False])
@torch.no_grad()
def test_stable_diffusion_3(t5, saved):
    """With and without its third text encoder."""
    pipeline, root = saved("stable_diffusion_3", t5)
    teacher, z = load_teacher(f"diffusers:{root}", prompts=PROMPTS), start((4, 8, 8))
    expected = latents(pipeline, z, guidance_scale=3.0)
    close(flow(guided(teacher, 3.0), pipeline.scheduler, z), expected)
    decoded = pipeline.vae.decode(z / 1.5305 + 0.0609).sample
    torch.testing.assert_close(teacher.decode(z), decoded)
    assert teacher.scaling.c_noise(3.0) == 750


@pytest.mark.parametrize(("distilled", "weight"), [(False, 3.0), (True, 1.0), (True, 2.0)])
@torch.no_grad()
def test_flux(distilled, weight, saved):
    """Told the weight of guidance that it was distilled with, and guided besides, which the pipeline does in two calls."""
    pipeline, root = saved("flux", distilled)
    spec = f"diffusers:{root}:size=16" + (":embedded=2.5" if distilled else "")
    teacher, z = load_teacher(spec, prompts=PROMPTS), start((4, 8, 8))
    assert (teacher.shape, teacher.image_shape, teacher.scaling.c_noise(3.0)) == ((4, 8, 8), (3, 16, 16), 0.75)
    assert teacher.card.get("note") == ("distilled with guidance, told the weight 2.5" if distilled else None)
    packed = pipeline._pack_latents(z, 2, 4, 8, 8)
    told = {"height": 16, "width": 16, "true_cfg_scale": weight, "negative_prompt": ["", ""], "guidance_scale": 2.5}
    expected = pipeline._unpack_latents(latents(pipeline, packed, **told), 16, 16, pipeline.vae_scale_factor)
    close(flow(guided(teacher, weight, calls=2), pipeline.scheduler, z), expected)


@torch.no_grad()
def test_pictures_that_are_not_square(saved):
    pipeline, root = saved("flux", False)
    teacher, z = load_teacher(f"diffusers:{root}:size=16x24", prompts=PROMPTS), start((4, 8, 12))
    told = {"height": 16, "width": 24}
    expected = latents(pipeline, pipeline._pack_latents(z, 2, 4, 8, 12), **told)
    close(flow(teacher, pipeline.scheduler, z), pipeline._unpack_latents(expected, 16, 24, 2))
    pipeline, root = saved("stable_diffusion_xl")
    teacher = load_teacher(f"diffusers:{root}:size=16x24", prompts=PROMPTS)
    pipeline.scheduler = DISCRETE["euler"]()
    expected = latents(pipeline, z, guidance_scale=1.0, **told)
    close(ours("euler", teacher, pipeline.scheduler, z, LABELS), expected)


@torch.no_grad()
def test_a_solver_of_the_library_s_tells_a_flow_whole_times(saved):
    """Its multistep solvers cut the times of a flow, and step by the exact ones: ours, told the same, agrees."""
    pipeline, root = saved("stable_diffusion_3", True)
    teacher, z = load_teacher(f"diffusers:{root}", prompts=PROMPTS), start((4, 8, 8))
    usual = pipeline.scheduler
    told = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
    pipeline.scheduler = diffusers.DPMSolverMultistepScheduler(**told)
    expected = latents(pipeline, z, guidance_scale=1.0)
    grid = [float(t / (1 - t)) for t in pipeline.scheduler.sigmas]
    pipeline.scheduler = usual

    def sampled() -> torch.Tensor:
        return samplers.get("dpmpp_2m").integrate(teacher, z * (1 + grid[0]) / grid[0], grid, labels=LABELS)

    assert (sampled() - expected).abs().max() > 1e-3
    teacher.scaling = dataclasses.replace(teacher.scaling, c_noise=lambda s: float(math.floor(1000 * s / (1 + s))))
    close(sampled(), expected)


def test_the_scheduler_of_a_flow_shifts_its_end_twice():
    """So grids are compared as its scheduler has them: t of 1 of 1000 steps is 0.003 when it is shifted by 3 once."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(STEPS)
    assert float(scheduler.sigmas[-2]) == pytest.approx(0.0089286, rel=1e-4)


@torch.no_grad()
def test_prompts_are_classes(saved):
    _, root = saved("stable_diffusion")
    spec, z = f"diffusers:{root}", start((4, 8, 8))
    teacher = load_teacher(spec, prompts=PROMPTS)
    both = teacher(z, 1.0, LABELS)
    for k, prompt in enumerate(PROMPTS):
        alone = load_teacher(spec, prompts=[prompt])
        torch.testing.assert_close(alone(z[k : k + 1], 1.0, torch.tensor([0])), both[k : k + 1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(teacher(z, 1.0, torch.tensor([1, -1]))[1:], teacher(z, 1.0)[1:])
    assert not torch.allclose(teacher(z, 1.0), both, atol=1e-3)
    found = {load_teacher(spec, prompts=p).sha256 for p in (PROMPTS, PROMPTS, PROMPTS[:1], PROMPTS[::-1])}
    assert len(found) == 3
    assert load_teacher(f"{spec}:size=32", prompts=PROMPTS).sha256 not in found
    teacher.prompt([])
    assert torch.equal(teacher(z, 1.0, LABELS), both)
    with pytest.raises(UserError, match="makes images of texts; give --prompts FILE"):
        load_teacher(spec)


@torch.no_grad()
def test_an_encoder_in_a_bin(saved, tmp_path):
    """A pickle, of which tensors alone are read."""
    _, root = saved("stable_diffusion")
    own = shutil.copytree(root, tmp_path / root.name)
    weights = own / "text_encoder/model.safetensors"
    torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))
    weights.unlink()
    found, expected = (load_teacher(f"diffusers:{folder}", prompts=PROMPTS) for folder in (own, root))
    assert torch.equal(found.encoder_hidden_states, expected.encoder_hidden_states)
    assert found.sha256 != expected.sha256


def test_many_prompts_are_encoded_in_batches(saved, monkeypatch):
    _, root = saved("stable_diffusion")
    whole = load_teacher(f"diffusers:{root}", prompts=PROMPTS)
    monkeypatch.setattr("samplers.models.diffusers.text.BATCH", 1)
    torch.testing.assert_close(
        load_teacher(f"diffusers:{root}", prompts=PROMPTS).encoder_hidden_states, whole.encoder_hidden_states
    )
    assert whole.encoder_hidden_states.shape == (3, text_models.LONGEST, 16)
