"""Models of latents give the images of the library's own pipelines; what does not fit together is refused."""

import json
import shutil

import diffusers
import pytest
import torch
from diffusers_models import autoencoder, dit, ours, start, unet

from samplers import UserError, load_teacher
from samplers.models.guidance import guided

LABELS = torch.tensor([7, 207])
SCHEDULERS = {
    "ddim": lambda: diffusers.DDIMScheduler(clip_sample=False),
    "dpmpp_2m": lambda: diffusers.DPMSolverMultistepScheduler(timestep_spacing="leading"),
}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """A DiT of the library's, saved, and where."""
    scheduler = diffusers.DDIMScheduler(clip_sample=False)
    made = diffusers.DiTPipeline(dit(), autoencoder(), scheduler)
    made.set_progress_bar_config(disable=True)
    made.save_pretrained(root := tmp_path_factory.mktemp("dit"))
    return made, root


def images(pipeline, weight):
    told = {"guidance_scale": weight, "num_inference_steps": 7, "output_type": "np"}
    return pipeline(LABELS.tolist(), generator=torch.manual_seed(0), **told).images


@pytest.mark.parametrize(("solver", "weight"), [("ddim", 1.0), ("ddim", 4.0), ("dpmpp_2m", 4.0)])
@torch.no_grad()
def test_a_whole_pipeline(pipeline, solver, weight):
    """With its guidance, its learned variance and its decoder."""
    made, root = pipeline
    made.scheduler = SCHEDULERS[solver]()
    teacher = load_teacher(f"diffusers:{root}")
    told = (teacher.shape, teacher.image_shape, teacher.num_classes, teacher.unconditional, teacher.latent)
    assert told == ((4, 8, 8), (3, 16, 16), 1000, True, True)
    expected = images(made, weight)
    latents = ours(solver, guided(teacher, weight), made.scheduler, start((4, 8, 8)), LABELS)
    found = (teacher.decode(latents) / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    assert found.std() > 0.05
    assert abs(found - expected).max() < 1e-4
    assert teacher.describe().parameters == sum(p.numel() for p in made.transformer.parameters())


@torch.no_grad()
def test_a_published_dit(pipeline, tmp_path):
    """As facebook/DiT-XL-2-256 lies on the hub, saved before its network had a class of its own."""
    root = shutil.copytree(pipeline[1], tmp_path / "dit")
    told = json.loads((config := root / "transformer/config.json").read_text())
    off = dict.fromkeys(("double_self_attention", "only_cross_attention", "use_linear_projection"), False)
    old = told | off | {"_class_name": "Transformer2DModel", "cross_attention_dim": None, "num_vector_embeds": None}
    config.write_text(json.dumps(old))
    z = start((4, 8, 8))
    new, published = (load_teacher(f"diffusers:{path}") for path in (pipeline[1], root))
    assert torch.equal(published(z, 3.0, LABELS), new(z, 3.0, LABELS))
    config.write_text(json.dumps(old | {"norm_type": "ada_norm_single"}))
    with pytest.raises(UserError, match="unknown class of the transformer 'Transformer2DModel'"):
        load_teacher(f"diffusers:{root}")


def test_a_vae_that_is_listed_and_not_there(pipeline, tmp_path):
    root = shutil.copytree(pipeline[1], tmp_path / "dit", ignore=shutil.ignore_patterns("vae"))
    with pytest.raises(UserError, match=r"no vae's settings at .*dit/vae/config\.json"):
        load_teacher(f"diffusers:{root}")


@torch.no_grad()
def test_the_frequencies_of_the_original(pipeline):
    """exp(-ln(10000) i / 128), cosines first, which is another teacher."""
    own, other = (load_teacher(f"diffusers:{pipeline[1]}{option}") for option in ("", ":embedding=original"))
    time = torch.tensor([500.0])
    rates = torch.exp(-torch.log(torch.tensor(10000.0)) * torch.arange(128) / 128)
    for block in other.network.transformer_blocks:
        found = block.norm1.emb.time_proj(time)
        torch.testing.assert_close(found, torch.cat([(500 * rates).cos(), (500 * rates).sin()])[None], rtol=1e-3, atol=1e-3)
    z = start((4, 8, 8))
    assert not torch.allclose(own(z, 3.0, LABELS), other(z, 3.0, LABELS), atol=1e-3)
    assert own.sha256 != other.sha256
    with pytest.raises(UserError, match="unknown embedding 'orignal'; did you mean 'original'"):
        load_teacher(f"diffusers:{pipeline[1]}:embedding=orignal")


@pytest.mark.parametrize(("part", "kind"), [("vae", "AutoencoderKL"), ("vqvae", "VQModel")])
@torch.no_grad()
def test_a_u_net_of_latents(part, kind, folder):
    """As the latent diffusion models without a condition; with a scale, a shift, and statistics by channel."""
    told = {"scaling_factor": 0.4}
    if part == "vae":
        told |= {"shift_factor": 0.3, "latents_mean": [1.0, 2.0, 3.0, 4.0], "latents_std": [1.0, 0.5, 0.2, 0.1]}
    decoder = autoencoder(kind, **told)
    _, spec = folder(diffusers.DDIMScheduler(), **{"unet": unet(in_channels=4, out_channels=4), part: decoder})
    teacher, z = load_teacher(spec), start((4, 8, 8))
    std, mean = (torch.tensor(told.get(k, [d] * 4)).reshape(4, 1, 1) for k, d in (("latents_std", 1.0), ("latents_mean", 0.0)))
    expected = decoder.decode(z * std / 0.4 + mean + told.get("shift_factor", 0.0)).sample
    torch.testing.assert_close(teacher.decode(z), expected)
    low = z.bfloat16()
    full = teacher.decode(low.float())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(teacher.decode(low), full)
    assert teacher.image_shape == expected.shape[1:]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"_class_name": "AutoencoderDC"}, "unknown class of the vae 'AutoencoderDC'"),
        ({"latents_std": [1.0, 2.0]}, "its latents' scale .* is none"),
        ({"scaling_factor": "large"}, "its latents' scale .* is none"),
        (None, "has no vae, whose latents a DiT denoises; save the whole pipeline"),
    ],
)
def test_a_decoder_that_is_none(told, said, folder):
    root, spec = folder(diffusers.DDIMScheduler(), transformer=dit(5), vae=autoencoder())
    path = root / "vae" / "config.json"
    if told is None:
        (root / "vae").rename(root / "elsewhere")
    else:
        path.write_text(json.dumps(json.loads(path.read_text()) | told))
    with pytest.raises(UserError, match=said):
        load_teacher(spec)


def test_a_decoder_of_other_latents(folder):
    network = dit(5, in_channels=3, out_channels=6)
    _, spec = folder(diffusers.DDIMScheduler(), transformer=network, vae=autoencoder())
    with pytest.raises(UserError, match="vae decodes 4 channels, the network makes 3"):
        load_teacher(spec)
