"""What a model told a text lacks, or is asked wrongly, is told in a line with the fix; nothing of its folder is run."""

import json
import shutil
import sys
from pathlib import Path

import diffusers
import pytest
import text_models
import torch
from diffusers_models import unet

from samplers import UserError, load_teacher
from samplers.models.prompts import read_prompts

INDEX, UNET, SCHEDULER = "model_index.json", "unet/config.json", "scheduler/scheduler_config.json"
TRANSFORMER = "transformer/config.json"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    root = tmp_path_factory.mktemp("saved")
    for name in ("stable_diffusion", "stable_diffusion_3", "flux"):
        getattr(text_models, name)().save_pretrained(root / name)
    return root


@pytest.fixture
def model(saved, tmp_path):
    """A copy of a saved pipeline, with some fields of a file changed; ... leaves one out."""

    def copy(name: str, file: str = INDEX, told: dict | None = None) -> Path:
        root = shutil.copytree(saved / name, tmp_path / name)
        found = json.loads((root / file).read_text()) | (told or {})
        (root / file).write_text(json.dumps({k: v for k, v in found.items() if v is not ...}))
        return root

    return copy


def refusal(root: Path, options: str = "", prompts=("a cat",)) -> str:
    with pytest.raises(UserError) as e:
        load_teacher(f"diffusers:{root}{options}", prompts=prompts)
    said = str(e.value)
    assert "\n" not in said
    assert len(said) < 700
    return said


@pytest.mark.parametrize(
    ("name", "file", "told", "said"),
    [
        ("stable_diffusion", INDEX, {"text_encoder": ...}, "no text_encoder in its model_index.json; save the whole pipeline"),
        ("stable_diffusion", INDEX, {"text_encoder": [None, None]}, "no text_encoder in its model_index.json"),
        ("stable_diffusion", INDEX, {"text_encoder": ["transformers", "BertModel"]}, "unknown class of the text_encoder 'Bert"),
        ("stable_diffusion", INDEX, {"text_encoder": ["own", "os.system"]}, "unknown class of the text_encoder 'os.system'"),
        ("stable_diffusion", INDEX, {"tokenizer": ["transformers", "BertTokenizer"]}, "unknown class of the tokenizer"),
        ("stable_diffusion", INDEX, {"tokenizer": ...}, "cannot encode prompts"),
        ("stable_diffusion", UNET, {"time_cond_proj_dim": 8}, "time_cond_proj_dim 8 is of no Stable Diffusion 1, 2 or XL"),
        ("stable_diffusion", UNET, {"class_embed_type": "identity"}, "class_embed_type 'identity' is of no Stable Diffusion"),
        ("stable_diffusion", UNET, {"addition_embed_type": "image"}, "addition_embed_type 'image' is of no Stable"),
        ("stable_diffusion", UNET, {"sample_size": None}, "sample_size is None"),
        ("stable_diffusion", SCHEDULER, {"prediction_type": "noise"}, "unknown prediction_type 'noise'"),
        ("stable_diffusion_3", SCHEDULER, {"_class_name": "DDPM", "beta_start": 1e-4}, "the scheduler is of no flow"),
        (
            "stable_diffusion_3",
            TRANSFORMER,
            {"_class_name": "Lumina2Transformer2DModel"},
            "unknown class of the transformer 'Lumina2Transformer2DModel'",
        ),
    ],
)
def test_a_part_or_a_field_that_is_not_known(name, file, told, said, model):
    assert said in refusal(model(name, file, told))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("stable_diffusion", ":size=15", "size=15: write pixels of images, as 512"),
        ("stable_diffusion", ":size=16x", "size=16x: write pixels of images"),
        ("stable_diffusion", ":size=0", "size=0: write pixels of images"),
        ("stable_diffusion", ":sise=16", "unknown option of a UNet2DConditionModel 'sise'; did you mean 'size'"),
        ("stable_diffusion_3", ":embedded=2", "unknown option of a SD3Transformer2DModel 'embedded'"),
        ("flux", ":size=18", "its latents go in squares of 2"),
        ("flux", ":embedded=much", "embedded=much: write a weight of guidance"),
        ("flux", ":embedded=nan", "embedded=nan: write a weight of guidance"),
    ],
)
def test_an_option_that_is_none(name, options, said, model):
    assert said in refusal(model(name), options)


def test_a_weight_for_a_network_without(tmp_path):
    text_models.flux(False).save_pretrained(tmp_path)
    assert "was not distilled with guidance, so is told no weight" in refusal(tmp_path, ":embedded=2")


def test_prompts_that_are_missing_or_not_read(model, folder):
    assert "makes images of texts; give --prompts FILE" in refusal(model("stable_diffusion"), prompts=())
    _, spec = folder(diffusers.DDIMScheduler(), unet=unet())
    with pytest.raises(UserError, match="reads no prompts; leave out --prompts"):
        load_teacher(spec, prompts=["a cat"])


def test_files_that_are_missing_or_damaged(model):
    root = model("stable_diffusion", INDEX, {"vae": ...})
    (root / "vae").rename(root / "elsewhere")
    assert "has no vae, whose latents its network denoises" in refusal(root)
    (root / "elsewhere").rename(root / "vae")
    weights = root / "text_encoder/model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:100])
    assert "the text_encoder of stable_diffusion cannot be read" in refusal(root)
    weights.unlink()
    assert "no weights of the text_encoder (.safetensors or .bin)" in refusal(root)


def test_weights_of_an_encoder_that_lack(model):
    root = model("stable_diffusion")
    path = root / "text_encoder/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_hidden_layers": 3}))
    assert "the text_encoder's weights in" in (said := refusal(root))
    assert "layers.2" in said


class Canary:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_an_encoder_s_bin_that_holds_code(model, tmp_path):
    root = model("stable_diffusion")
    (root / "text_encoder/model.safetensors").unlink()
    torch.save({"a": Canary(tmp_path / "sung")}, root / "text_encoder/pytorch_model.bin")
    (root / "text_encoder/modeling_own.py").write_text(f"open({str(tmp_path / 'sung')!r}, 'w')")
    path = root / "text_encoder/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoModel": "modeling_own.Own"}}))
    assert "the text_encoder of stable_diffusion cannot be read" in refusal(root)
    assert not (tmp_path / "sung").exists()


def test_without_the_library(model, monkeypatch):
    root = model("stable_diffusion")
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert "transformers is not installed" in (said := refusal(root))
    assert "pip install 'sampler-bench[diffusers]'" in said


def test_the_hub_is_asked_for_what_is_read_alone(model, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    asked, root = [], model("stable_diffusion")
    monkeypatch.setattr(hub, "snapshot_download", lambda name, **told: asked.append(*told["allow_patterns"][-1:]) or root)
    load_teacher("diffusers:owner/model", prompts=["a cat"])
    parts = ("unet", "vae", "text_encoder")
    assert sorted(asked) == sorted(["*/*.json", *(f"{part}/*.safetensors" for part in parts), "tokenizer/*"])


def test_prompts_as_they_are_given(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("a cat\n\n  two dogs \nein Bär\n", encoding="utf-8")
    assert read_prompts(str(path)) == ["a cat", "two dogs", "ein Bär"]
    assert read_prompts(str(path), 2) == ["a cat", "two dogs"]
    assert read_prompts(" a cat\non a mat ") == ["a cat on a mat"]
    assert read_prompts(None) == []


def test_prompts_that_are_none(tmp_path):
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    for told, said in (("empty.txt", "are none"), ("latin.txt", "cannot be read"), ("other.txt", "no such file")):
        with pytest.raises(UserError, match=said):
            read_prompts(str(tmp_path / told))
    with pytest.raises(UserError, match="prompts '' are none"):
        read_prompts(" ")
