"""What cannot be used is told in a line with the field and the fix, and nothing of a model's folder is run."""

import json
import logging
import pickle
import sys
from pathlib import Path

import diffusers
import pytest
import torch
from diffusers_models import unet
from safetensors.torch import load_file, save_file

from samplers import UserError, load_teacher


def change(path: Path, **told) -> None:
    found = json.loads(path.read_text()) | told
    path.write_text(json.dumps({k: v for k, v in found.items() if v is not ...}))


@pytest.fixture
def model(folder):
    return folder(diffusers.DDIMScheduler(), unet=unet())


UNET, SCHEDULER = "unet/config.json", "scheduler/scheduler_config.json"


@pytest.mark.parametrize(
    ("file", "told", "said"),
    [
        (UNET, {"_class_name": "UNet9DModel"}, r"unknown class of the unet 'UNet9DModel'; did you mean 'UNet2DModel'"),
        (UNET, {"_class_name": ...}, "unknown class of the unet 'None'"),
        (UNET, {"attention_legacy_order": True}, "UNet2DModel has no setting 'attention_legacy_order'"),
        (UNET, {"sample_size": None}, "sample_size is None; write the images' size"),
        (UNET, {"sample_size": [8, -1]}, "sample_size is"),
        (UNET, {"out_channels": 4}, "the network makes 4 channels of 3|cannot be read"),
        (UNET, {"time_embedding_type": "fourier"}, "fourier.*not known|cannot be read|lack"),
        (UNET, {"class_embed_type": "timestep"}, "class_embed_type 'timestep' is not known|lack"),
        (UNET, {"time_embedding_type": "adm"}, "cannot be read .UnboundLocalError"),
        (UNET, {"block_out_channels": [16, 32]}, "cannot be read"),
        (UNET, {"num_class_embeds": 3}, "weights in .* lack 'class_embedding.weight'"),
        (UNET, {"layers_per_block": "x" * 5000}, "cannot be read"),
        (SCHEDULER, {"prediction_type": "noise"}, "unknown prediction_type 'noise'"),
        (SCHEDULER, {"beta_schedule": "laplacian"}, "the scheduler's betas make no schedule"),
        (SCHEDULER, {"trained_betas": [0.5, 2.0]}, "the scheduler's betas make no schedule|alphas_cumprod must be"),
        (SCHEDULER, {"num_train_timesteps": 10**9}, "num_train_timesteps is 1000000000"),
        (SCHEDULER, {"sigma_min": 1, "sigma_max": 2, "sigma_data": 3}, "unknown scheduler with sigma_data 'DDIMScheduler'"),
        (
            SCHEDULER,
            {"_class_name": "EDMEulerScheduler", "sigma_min": "x", "sigma_max": 2, "sigma_data": 3},
            "sigma_min is 'x'",
        ),
        (
            SCHEDULER,
            {"_class_name": "EDMEulerScheduler", "sigma_min": 1, "sigma_max": 2, "sigma_data": 3, "prediction_type": "sample"},
            "unknown prediction_type of EDM's 'sample'",
        ),
        (SCHEDULER, {"timestep_type": "continuous"}, "timestep_type 'continuous' is not known"),
        (SCHEDULER, {"invert_sigmas": True}, "invert_sigmas True is not known"),
    ],
)
def test_a_field_that_is_not_known(file, told, said, model):
    root, spec = model
    change(root / file, **told)
    with pytest.raises(UserError, match=said) as e:
        load_teacher(spec)
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 700


def test_a_scheduler_of_no_process(model):
    root, spec = model
    for told in ({"_class_name": "MysteryScheduler"}, dict(diffusers.IPNDMScheduler().config)):  # its betas are its own
        (root / SCHEDULER).write_text(json.dumps(told))
        with pytest.raises(UserError, match=r"scheduler \w+ tells neither betas"):
            load_teacher(spec)
    (root / SCHEDULER).unlink()
    with pytest.raises(UserError, match=r"no scheduler's settings at .*; save the whole pipeline with save_pretrained"):
        load_teacher(spec)


def test_weights_that_are_not_there(model):
    root, spec = model
    weights = root / "unet/diffusion_pytorch_model.safetensors"
    content = weights.read_bytes()
    save_file(load_file(weights) | {"more.weight": torch.zeros(1)}, weights)
    with pytest.raises(UserError, match=r"weights in .* have no place for 'more.weight'"):
        load_teacher(spec)
    weights.write_bytes(content[:100])
    with pytest.raises(UserError, match=r"the unet in .* cannot be read"):
        load_teacher(spec)
    weights.rename(weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    with pytest.raises(UserError, match=r"no weights of the unet \(.safetensors or .bin\) in .*unet but the variant diff"):
        load_teacher(spec)


class Canary:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_bin_of_tensors_is_read_without_a_word(model, monkeypatch):
    root, spec = model
    said: list[logging.LogRecord] = []
    (root / "unet/diffusion_pytorch_model.safetensors").unlink()
    torch.save(unet().state_dict(), root / "unet/diffusion_pytorch_model.bin")
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", said.append)
    diffusers.utils.logging.set_verbosity_warning()
    diffusers.utils.logging.add_handler(handler)
    load_teacher(spec)
    diffusers.utils.logging.remove_handler(handler)
    assert not said


def test_a_bin_that_holds_code(model, tmp_path):
    root, spec = model
    (root / "unet/diffusion_pytorch_model.safetensors").unlink()
    for content in (Canary(tmp_path / "sung"), {"a": torch.zeros(1), "b": Canary(tmp_path / "sung")}):
        torch.save(content, root / "unet/diffusion_pytorch_model.bin")
        with pytest.raises(UserError, match=r"the unet in .* cannot be read"):
            load_teacher(spec)
    (root / "unet/diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Canary(tmp_path / "sung")))
    with pytest.raises(UserError, match=r"the unet in .* cannot be read"):
        load_teacher(spec)
    assert not (tmp_path / "sung").exists()


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("", "names no model; write diffusers:FOLDER"),
        ("no/such/folder", "no such folder, and no id of the hub"),
        ("{}:null=3", "null=: the model has no classes"),
        ("{}:nul=3", "unknown option of a UNet2DModel 'nul'; did you mean 'null'"),
        ("{}:null", "no such folder|write the option as null=VALUE"),
        ("{}@5", "says nothing of a model|no such folder"),
    ],
)
def test_what_is_no_name_of_a_model(rest, said, model):
    with pytest.raises(UserError, match=said):
        load_teacher(f"diffusers:{rest.format(model[0])}")


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("GatedRepoError", "owner/model is gated; accept its terms"),
        ("RepositoryNotFoundError", "the hub has no repository owner/model"),
        (
            "LocalEntryNotFoundError",
            "not in the hub's cache and cannot be fetched .*; run 'hf download owner/model'",
        ),
        ("OfflineModeIsEnabled", "owner/model is not in the hub's cache"),
        ("RevisionNotFoundError", "owner/model (cannot be fetched|is not in)"),
    ],
)
def test_what_the_hub_does_not_give(raised, said, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    kind = getattr(hub.errors, raised)

    def fail(*_, **__):
        raise kind.__new__(kind, "a long\nmessage")

    monkeypatch.setattr(hub, "snapshot_download", fail)
    with pytest.raises(UserError, match=said) as e:
        load_teacher("diffusers:owner/model")
    assert "\n" not in str(e.value)


def test_the_hub_is_asked_for_what_is_read_alone(model, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    asked = []
    monkeypatch.setattr(hub, "snapshot_download", lambda name, **told: asked.append((name, told["allow_patterns"])) or model[0])
    teacher = load_teacher("diffusers:owner/model")
    assert asked == [("owner/model", ["*.json", "*/*.json"]), ("owner/model", ["unet/*.safetensors"])]
    assert (teacher.name, teacher.sha256) == ("owner/model", load_teacher(model[1]).sha256)


def test_without_the_library(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(UserError, match=r"diffusers is not installed .*; pip install 'sampler-bench\[diffusers\]'"):
        load_teacher(model[1])
