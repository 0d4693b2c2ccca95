"""`UNet2DModel`s as teachers: our solvers on the library's own grids give its own images."""

import json
import math
from itertools import pairwise

import diffusers
import pytest
import torch
from diffusers_models import autoencoder, ours, start, theirs, unet
from safetensors.torch import load_file, save_file

import samplers
from samplers import UserError, load_teacher
from samplers.flops import flops
from samplers.operations import Operations

SOLVERS = {
    "ddim": lambda **told: diffusers.DDIMScheduler(clip_sample=False, **told),
    "dpmpp_2m": lambda **told: diffusers.DPMSolverMultistepScheduler(timestep_spacing="leading", **told),
    "euler": lambda **told: diffusers.EulerDiscreteScheduler(timestep_spacing="leading", **told),
    "heun": lambda **told: diffusers.HeunDiscreteScheduler(timestep_spacing="leading", **told),
}


def close(x: torch.Tensor, y: torch.Tensor) -> None:
    assert y.std() > 0.05
    torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_our_solvers_on_its_grids_give_its_images(solver, prediction, folder):
    scheduler = SOLVERS[solver](prediction_type=prediction)
    network = unet()
    _, spec = folder(scheduler, unet=network)
    teacher, z = load_teacher(spec), start((3, 8, 8))
    expected = theirs(lambda x, t: network(x, t).sample, scheduler, z, 9)
    close(ours(solver, teacher, scheduler, z), expected)
    assert teacher.scaling.name == {"epsilon": "eps", "sample": "x", "v_prediction": "v"}[prediction]


def test_a_whole_pipeline(tmp_path):
    """Saved and run by the pipeline itself, whose images are in [0, 1]."""
    pipeline = diffusers.DDIMPipeline(unet(), diffusers.DDIMScheduler(clip_sample=False))
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(tmp_path)
    expected = pipeline(2, generator=torch.manual_seed(0), num_inference_steps=7, output_type="np").images
    teacher = load_teacher(f"diffusers:{tmp_path}")
    x = ours("ddim", teacher, pipeline.scheduler, start((3, 8, 8)))
    assert abs((x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy() - expected).max() < 1e-4
    assert (teacher.name, teacher.shape, teacher.num_classes) == (tmp_path.name, (3, 8, 8), 0)
    assert (teacher.sigma_min, teacher.sigma_max) == pytest.approx((0.01, 157.407), rel=1e-4)
    assert teacher.describe().parameters == sum(p.numel() for p in pipeline.unet.parameters())


def test_clipping_is_a_sampler_s_own(folder):
    """The library clips x0 where its scheduler says so: the same denoiser, cut by whoever asks for it."""
    scheduler = diffusers.DDIMScheduler(prediction_type="sample")
    network = unet()
    _, spec = folder(scheduler, unet=network)
    teacher, z = load_teacher(spec), start((3, 8, 8))
    expected = theirs(lambda x, t: network(x, t).sample, scheduler, z, 1)
    close(ours("ddim", teacher, scheduler, z).clamp(-1, 1), expected)


def test_learned_variance_is_left(folder):
    network, scheduler = unet(out_channels=6), SOLVERS["ddim"]()
    _, spec = folder(scheduler, unet=network)
    z = start((3, 8, 8))
    expected = theirs(lambda x, t: network(x, t).sample[:, :3], scheduler, z, 5)
    close(ours("ddim", load_teacher(spec), scheduler, z), expected)


def test_classes(folder):
    """Labels go to the table; without a row of no class each call needs them."""
    network, scheduler = unet(num_class_embeds=4), SOLVERS["dpmpp_2m"]()
    _, spec = folder(scheduler, unet=network)
    teacher, z, labels = load_teacher(spec), start((3, 8, 8)), torch.tensor([3, 1])
    expected = theirs(lambda x, t: network(x, t, class_labels=labels).sample, scheduler, z, 5)
    close(ours("dpmpp_2m", teacher, scheduler, z, labels), expected)
    assert (teacher.num_classes, teacher.unconditional) == (4, False)
    with pytest.raises(UserError, match=r"needs a class for each image"):
        teacher(z, 1.0)
    null = load_teacher(f"{spec}:null=3")
    assert (null.num_classes, null.unconditional) == (3, True)
    assert torch.equal(null(z, 1.0), teacher(z, 1.0, torch.tensor([3, 3])))
    assert torch.equal(null(z, 1.0, torch.tensor([-1, 1])), teacher(z, 1.0, labels))


def test_a_flat_old_folder(folder):
    """As google/ddpm-cifar10-32 lies on the hub: all at the root, names of long ago (of a scheduler, keys, tensors), code."""
    network = unet()
    root, spec = folder(diffusers.DDPMScheduler(beta_end=0.01), unet=network)
    expected = load_teacher(spec)
    for part in ("unet", "scheduler"):
        for file in (root / part).iterdir():
            file.rename(root / file.name)
        (root / part).rmdir()
    old = {"_class_name": "GaussianDDPMScheduler", "timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.01}
    (root / "scheduler_config.json").write_text(json.dumps(old | {"beta_schedule": "linear", "clip_predicted_image": True}))
    (root / "modeling_ddpm.py").write_text("raise SystemExit('run')")
    tensors = load_file(weights := root / "diffusion_pytorch_model.safetensors")
    for now, once in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        tensors = {name.replace(f".{now}.", f".{once}."): t for name, t in tensors.items()}
    assert any("proj_attn" in name for name in tensors)
    save_file(tensors, weights)
    z = start((3, 8, 8))
    assert torch.equal(load_teacher(spec)(z, 3.0), expected(z, 3.0))


def test_weights_in_a_bin(folder):
    network = unet()
    root, spec = folder(SOLVERS["ddim"](), unet=network)
    expected, z = load_teacher(spec), start((3, 8, 8))
    (root / "unet/diffusion_pytorch_model.safetensors").unlink()
    network.save_pretrained(root / "unet", safe_serialization=False)
    teacher = load_teacher(spec)
    assert torch.equal(teacher(z, 3.0), expected(z, 3.0))
    assert teacher.sha256 != expected.sha256


def test_the_time_of_a_level(folder):
    """Whole steps exactly, between them linear in log sigma, in float64 too."""
    scheduler = SOLVERS["ddim"](beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    _, spec = folder(scheduler, unet=unet())
    teacher = load_teacher(spec)
    table = ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod).sqrt().tolist()
    assert (teacher.sigma_min, teacher.sigma_max) == pytest.approx((0.029167, 14.6146), rel=1e-4)
    for t in (0, 1, 500, 998, 999):
        assert teacher.scaling.c_noise(table[t]) == pytest.approx(t, abs=2e-3)  # the table is float32's
    assert teacher.scaling.c_noise(math.sqrt(table[500] * table[501])) == pytest.approx(500.5, abs=1e-2)
    z = start((3, 8, 8))
    assert teacher(z.double(), torch.full((2,), 2.0)).dtype == torch.float64
    torch.testing.assert_close(teacher(z.double(), torch.full((2,), 2.0)).float(), teacher(z, 2.0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("told", "note", "last"),
    [
        ({"beta_schedule": "squaredcos_cap_v2"}, "its last noise level, 20291, is left out", 641.7),
        (
            {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
            "its last noise level, infinity, is left out",
            15406,
        ),
    ],
)
def test_what_is_cut_is_said(told, note, last, folder):
    _, spec = folder(diffusers.DDIMScheduler(**told), unet=unet())
    teacher = load_teacher(spec)
    assert teacher.sigma_max == pytest.approx(last, rel=1e-3)
    assert teacher.scaling.c_noise(teacher.sigma_max) == pytest.approx(998)
    assert teacher.describe().trained == teacher.card["note"] == note


def test_a_consistency_model(folder):
    """Its boundary form in EDM's coordinates; one step is the pipeline's."""
    network = unet(num_class_embeds=4)
    scheduler = diffusers.CMStochasticIterativeScheduler(clip_denoised=False)
    _, spec = folder(scheduler, unet=network)
    teacher, z, labels = load_teacher(spec), start((3, 8, 8)), torch.tensor([2, 0])
    expected = theirs(lambda x, t: network(x, t, class_labels=labels).sample, scheduler, z, 1)
    with torch.no_grad():
        close(samplers.get("euler").integrate(teacher, z, [80.0, 0.0], labels=labels), expected)
        assert torch.equal(teacher(z, 0.002, labels), z)
    assert (teacher.sigma_min, teacher.sigma_max, teacher.scaling.name) == (0.002, 80.0, "consistency")
    assert "in one call" in teacher.card["note"]


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("solver", ["euler", "dpmpp_2m"])
def test_edm_s_coordinates(solver, prediction, folder):
    """Its own preconditioning, or with the sign of v, as CosXL has it."""
    kind = {"euler": diffusers.EDMEulerScheduler, "dpmpp_2m": diffusers.EDMDPMSolverMultistepScheduler}[solver]
    network, scheduler = unet(), kind(sigma_data=1.0, prediction_type=prediction)
    _, spec = folder(scheduler, unet=network)
    teacher, z = load_teacher(spec), start((3, 8, 8))
    expected = theirs(lambda x, t: network(x, t).sample, scheduler, z, 6)
    close(ours(solver, teacher, scheduler, z), expected)
    assert teacher.scaling.name == {"epsilon": "edm", "v_prediction": "v"}[prediction]


def test_a_flow(folder):
    """Flow matching with a U-Net: shift is the grid's, the network is told the shifted time."""
    network, scheduler = unet(), diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    _, spec = folder(scheduler, unet=network)
    teacher, z = load_teacher(spec), start((3, 8, 8))
    scheduler.set_timesteps(6)
    x = z
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t).sample, t, x).prev_sample
        levels = [min(float(t / (1 - t)), 1e6) for t in scheduler.sigmas]
        close(samplers.get("euler").integrate(teacher, z * (1 + levels[0]) / levels[0], levels), x)


@torch.no_grad()
def test_a_pass_is_its_network_calls_and_next_to_nothing(folder):
    """Counted, where a clock would be disturbed: 16 operators a call beside the network's, views among them, and no waiting."""
    _, spec = folder(SOLVERS["ddim"](), unet=unet())
    teacher, z, time = load_teacher(spec), start((3, 8, 8)), torch.full((2,), 500.0)
    with Operations() as bare:
        teacher.network(z, time)
    with Operations() as ours:
        samplers.get("ddim").sample(teacher, z, steps=4)
    assert 4 * bare.operators < ours.operators <= 4 * (bare.operators + 16)
    assert ours.synchronisations == bare.synchronisations == 0
    assert flops(samplers.get("ddim").sample, teacher, z, steps=4) == 4 * flops(teacher.network, z, time)


@pytest.mark.parametrize(("spacing", "steps"), [("linspace", 10), ("trailing", 7)])
@torch.no_grad()
def test_ddim_of_the_library_steps_to_another_time_than_it_goes_on_from(spacing, steps, folder):
    """Its step ends at t - T // n, and the next begins at its grid's time; ours, made to do so, gives its images."""
    network, scheduler = unet(), diffusers.DDIMScheduler(clip_sample=False, timestep_spacing=spacing)
    _, spec = folder(scheduler, unet=network)
    teacher, z = load_teacher(spec), start((3, 8, 8))
    expected = theirs(lambda x, t: network(x, t).sample, scheduler, z, steps)
    assert (ours("ddim", teacher, scheduler, z) - expected).abs().max() > 1e-3
    seen = z
    for t in scheduler.timesteps.tolist():
        level = teacher.schedule.sigma(float(t))
        before = t - 1000 // steps
        end = teacher.schedule.sigma(float(before)) if before >= 0 else 0.0
        x = samplers.get("ddim").integrate(teacher, seen * math.hypot(1, level) / level, [level, end])
        seen = x / math.hypot(1, end)
    close(seen, expected)


@torch.no_grad()
def test_dpm_solver_of_the_library_cuts_a_learned_variance_at_three_channels(folder):
    """So it fails for latents of four, unless somebody cuts before it."""
    network, scheduler = unet(in_channels=4, out_channels=8), SOLVERS["dpmpp_2m"](variance_type="learned")
    _, spec = folder(scheduler, unet=network, vae=autoencoder())
    z = start((4, 8, 8))
    with pytest.raises(RuntimeError, match="must match"):
        theirs(lambda x, t: network(x, t).sample, scheduler, z, 5)
    scheduler = SOLVERS["dpmpp_2m"]()
    expected = theirs(lambda x, t: network(x, t).sample[:, :4], scheduler, z, 5)
    close(ours("dpmpp_2m", load_teacher(spec), scheduler, z), expected)


@torch.no_grad()
def test_a_score_network(folder):
    """ScoreSDE's VE, of images in [0, 1]: x0 = x + sigma^2 score there (Tweedie), and a whole path in the library's numbers."""
    network, scheduler = unet(time_embedding_type="fourier"), diffusers.ScoreSdeVeScheduler(sigma_max=50.0)
    network.time_proj.weight.data.mul_(0.01)  # of frequencies as large as they are, random weights make chaos
    _, spec = folder(scheduler, unet=network)
    teacher, z = load_teacher(spec), start((3, 8, 8))
    assert (teacher.sigma_min, teacher.sigma_max, teacher.scaling.name) == (0.02, 100.0, "ve")
    levels = [50.0, 10.0, 1.0, 0.05]
    x = 50 * z + 0.5
    for high, low in pairwise([*levels, 0.0]):
        score = network(x, torch.full((2,), high)).sample
        x = x + high * (high - low) * score  # dx = -sigma score dsigma
    found = samplers.get("euler").integrate(teacher, z, [2 * s for s in [*levels, 0.0]])
    close(found / 2 + 0.5, x)
    for kind, other in (("fourier", SOLVERS["ddim"]()), ("positional", scheduler), ("learned", SOLVERS["ddim"]())):
        _, spec = folder(other, unet=unet(time_embedding_type=kind, num_train_timesteps=1000))
        with pytest.raises(UserError, match=f"time_embedding_type '{kind}' does not go with its scheduler"):
            load_teacher(spec)
