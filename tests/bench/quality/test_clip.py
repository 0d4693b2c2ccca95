from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from text_models import clip as text_clip
from text_models import stable_diffusion

import bench
from bench.quality.extractor import features_of, load_extractor
from bench.quality.metrics import check_needs, score
from bench.quality.moments import Moments
from bench.quality.pictures import open_pictures
from bench.quality.reference import Reference
from bench.quality.sample import Sample
from samplers.errors import UserError

PROMPTS = ["a cat", "two dogs", "b"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP as transformers saves one, with random weights, its processor and tokenizer."""
    path = tmp_path_factory.mktemp("models") / "my-clip"
    encoder, tokenizer = text_clip(1, pooled=True)
    vision = transformers.CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=12, patch_size=6
    )
    torch.manual_seed(0)
    sides = {"text_config": encoder.config.to_dict(), "vision_config": vision.to_dict()}
    model = transformers.CLIPModel(transformers.CLIPConfig(**sides, projection_dim=16))
    for p in model.parameters():
        p.data += 0.2 * torch.randn(p.shape)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    size = {"size": {"shortest_edge": 12}, "crop_size": {"height": 12, "width": 12}}
    transformers.CLIPImageProcessor(**size).save_pretrained(path)
    return path


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randint(0, 256, (6, 3, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_it_is_the_mean_of_transformers_own_similarities(folder, pixels):
    extractor = load_extractor(f"clip:{folder}")
    assert (extractor.name, extractor.dimensions, extractor.gives_fid) == ("clip-my-clip", 16, False)
    sample = Sample.of(features_of(extractor, pixels).features)
    sample.texts = extractor.texts(PROMPTS)
    reference = Reference(Moments(0))
    check_needs(["clip"], extractor, reference, False, 6, prompted=True)
    entry = score(sample, extractor, reference, ["clip"], 0)
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    tokens = transformers.CLIPTokenizer.from_pretrained(folder)(PROMPTS, padding=True, return_tensors="pt")
    pictures = [Image.fromarray(p.permute(1, 2, 0).numpy()) for p in pixels]
    seen = transformers.CLIPImageProcessor.from_pretrained(folder)(images=pictures, return_tensors="pt")
    with torch.no_grad():
        found = model(**{k: tokens[k] for k in ("input_ids", "attention_mask")}, pixel_values=seen["pixel_values"])
        cosines = found.logits_per_image / model.logit_scale.exp()
    own = 100 * cosines[torch.arange(6), torch.arange(6) % 3].double().numpy()
    told = entry.quality["clip_clip-my-clip"]
    assert told["value"] == pytest.approx(own.mean(), rel=1e-5)
    assert told["ci_high"] - told["value"] == pytest.approx(1.96 * own.std(ddof=1) / 6**0.5, rel=1e-4)
    assert told["reference_sha256"] is None
    np.testing.assert_allclose(entry.influences["clip"], own, rtol=1e-4)


def test_a_run_of_prompts_is_scored_by_it(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    stable_diffusion().save_pretrained("my-sd")
    Path("prompts.txt").write_text("\n".join(PROMPTS))
    options = {
        "samplers": "ddim",
        "calls": 2,
        "images": 6,
        "trajectory_images": 0,
        "repetitions": 0,
        "device": "cpu",
        "threads": 1,
    }
    run = {"teacher": "diffusers:my-sd", "prompts": "prompts.txt", "metrics": "clip", "quiet": True, **options}
    df = bench.run(out="run", extractor=f"clip:{folder}", save_images="png", **run)
    extractor = load_extractor(f"clip:{folder}")
    (saved,) = Path("run/images").iterdir()
    seen = features_of(extractor, open_pictures(saved).read(0, 6))
    expected = torch.cosine_similarity(seen.features, extractor.texts(PROMPTS).repeat(2, 1)).mean()
    assert df["quality.clip_clip-my-clip.value"][0] == pytest.approx(100 * float(expected), rel=1e-4)
    with pytest.raises(UserError, match=r"clip needs prompts .* and an extractor that reads them"):
        bench.run(out="other", extractor=f"clip:{folder}", **run | {"teacher": "mnist32", "prompts": None})


def test_what_is_no_clip_is_one_line(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "bert"}')
    for spec, told in (
        ("clip", "clip names no model; write clip:FOLDER"),
        (f"clip:{tmp_path / 'none'}", "clip:.*: no such folder, and no id of the hub"),
        (f"clip:{tmp_path / 'empty'}", "no .*settings"),
        (f"clip:{other}", "other is no CLIP"),
    ):
        with pytest.raises(UserError, match=told) as e:
            load_extractor(spec)
        assert "\n" not in str(e.value)
