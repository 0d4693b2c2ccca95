"""The teacher's training: the draws of its loss, what a recipe changes in it, and processes that share a batch."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from processes import difference, in_two_processes
from rehearsal import write_images

from samplers import UserError
from samplers.models.weights import load_tensors
from samplers.schedule import Cosine
from samplers.training.data import load_images
from samplers.training.optimisation import normal, step_generator
from samplers.training.teacher import TeacherTraining
from samplers.world import World

BATCH = 4


@pytest.fixture(autouse=True)
def _gently(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("samplers.training.precision.available_cores", lambda: 1)
    write_images(tmp_path / "images", 12, 8, 1)


def trained(
    folder: Path, out: str, *, flip: bool = False, cap: float | None = 100.0, optimisation: dict | None = None, **network
) -> Path:
    """The folder of a training of three updates."""
    sizes = {"width": 8, "multipliers": [1], "blocks": 1, "attention": [], "embedding": 16}
    teacher = {
        "name": "tiny",
        "network": sizes | network,
        "parameterisation": "x",
        "sigma_min": 0.01,
        "sigma_max": 20.0,
        "label_dropout": 0.5,
        "snr_cap": cap,
        "optimisation": {"steps": 3, "batch": BATCH, "warmup": 1, "validate_every": 1, **(optimisation or {})},
    }
    data = {"train": ["images"], "held_out": ["images"], **({"flip": True} if flip else {})}
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"data": data, "teacher": teacher}))
    return TeacherTraining.train(folder / "recipe.yaml", folder, folder / out, quiet=True).parent


def test_the_first_loss_is_that_of_the_step_s_own_draws(tmp_path: Path):
    """A fresh network predicts 0, so the loss is the mean of weight * x0^2 over the drawn images and times."""
    log = (trained(tmp_path, "out") / "log.jsonl").read_text().splitlines()
    generator = step_generator(0, 0)
    images, _ = load_images([tmp_path / "images"]).draw(BATCH, 0.5, generator)
    t = (torch.arange(BATCH) + torch.rand(BATCH, generator=generator)) / BATCH
    sigma = torch.tensor([Cosine(0.01, 20.0).sigma(float(u)) for u in t])
    expected = (sigma.pow(-2).clamp(1, 100) * images.square().mean(dim=(1, 2, 3))).mean()
    assert json.loads(log[0])["loss"] == pytest.approx(float(expected), rel=1e-4)


def test_noise_on_a_cpu_is_the_generator_s_own():
    a, b = (torch.Generator().manual_seed(3) for _ in range(2))
    assert torch.equal(normal((2, 3), a, torch.device("cpu")), torch.randn(2, 3, generator=b))


def test_flips_dropout_and_parts_each_make_another_training(tmp_path: Path):
    variants = {
        "plain": {},
        "flip": {"flip": True},
        "dropout": {"dropout": 0.5},
        "parts": {"optimisation": {"accumulate": 2}},
    }
    weights = {k: (trained(tmp_path, k, **v) / "tiny.safetensors").read_bytes() for k, v in variants.items()}
    assert len(set(weights.values())) == len(variants)
    again = trained(tmp_path, "again", dropout=0.5)
    assert (again / "tiny.safetensors").read_bytes() == weights["dropout"]


def test_a_cap_that_no_level_reaches_is_none(tmp_path: Path):
    """The highest SNR of the schedule is 10^4; a training so begun goes on without the cap."""
    weights = (trained(tmp_path, "out", cap=1.1e4) / "tiny.safetensors").read_bytes()
    assert (trained(tmp_path, "out", cap=None) / "tiny.safetensors").read_bytes() == weights
    with pytest.raises(UserError, match="of another training"):
        trained(tmp_path, "out", cap=9e3)


def test_two_processes_train_the_same(tmp_path: Path):
    trained(tmp_path, "out")
    code = "from pathlib import Path\nfrom samplers.training import teacher as t\n"
    in_two_processes(code + "t.TeacherTraining.train('recipe.yaml', Path('.'), Path('two'), quiet=True)", tmp_path)
    assert difference(tmp_path / "out", tmp_path / "two") < 1e-2
    assert load_tensors(tmp_path / "two" / "tiny.safetensors")


def test_a_batch_that_cannot_be_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(World, "join", lambda device: World(1, 3, torch.device("cpu")))
    with pytest.raises(UserError, match="a batch of 4 cannot be shared by 3 processes; choose a multiple"):
        trained(tmp_path, "out")
    assert not (tmp_path / "out").exists()
