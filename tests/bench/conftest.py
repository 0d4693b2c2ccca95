"""A teacher and an extractor small enough to run the whole harness in seconds: random weights, 8x8 images, three classes."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from rehearsal import shrunk
from revisions_fixture import make_repository

from bench.quality.classifier import Classifier, ClassifierConfig
from bench.quality.moments import Moments
from dsno.network import DSNOConfig, from_teacher
from samplers.files import write_json
from samplers.models.sizes import UNetConfig
from samplers.models.teacher import load_teacher
from samplers.models.unet import UNet
from samplers.models.weights import save_tensors

CLASSES, SIZE = 3, 8


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """{"teacher": path of a card, "extractor": path of a card}."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    config = UNetConfig(
        channels=1, image_size=SIZE, width=8, multipliers=(1, 2), blocks=1, attention=(), embedding=16, classes=CLASSES
    )
    network = UNet(config)
    for p in network.parameters():
        if not p.any():  # the zero-initialised convolutions, which would hide the rest
            torch.nn.init.normal_(p, std=0.1)
    digest = save_tensors(folder / "tiny.safetensors", network.state_dict())
    card = {
        "kind": "teacher",
        "name": "tiny",
        "network": config.values(),
        "parameterisation": "x",
        "sigma_min": 0.01,
        "sigma_max": 20.0,
        "weights": "tiny.safetensors",
        "sha256": digest,
        "data_sha256": "none",
    }
    write_json(folder / "tiny.json", card)
    sizes = ClassifierConfig(channels=1, image_size=SIZE, classes=CLASSES, widths=(8, 8, 8, 8), features=4)
    classifier = Classifier(sizes)
    features = torch.randn(64, 4)
    stored = Moments.of(features).to_tensors() | {"features": features.half()}
    card = {
        "kind": "extractor",
        "name": "tinyfeatures",
        "network": sizes.values(),
        "weights": "features.safetensors",
        "sha256": save_tensors(folder / "features.safetensors", classifier.state_dict()),
        "reference": "reference.safetensors",
        "reference_sha256": save_tensors(folder / "reference.safetensors", stored),
        "data_sha256": "none",
    }
    write_json(folder / "features.json", card)
    return {"teacher": str(folder / "tiny.json"), "extractor": str(folder / "features.json")}


@pytest.fixture(scope="session")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our packages in a git repository whose only commit is tagged `good`; not to be changed."""
    return make_repository(tmp_path_factory.mktemp("repo"))


@pytest.fixture
def changed(repo: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return shutil.copytree(repo, tmp_path / "repo")


@pytest.fixture
def small(tiny: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """Options of a plan that takes a second; converged solutions are cached in the test's own folder."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("bench.quality.trajectory.STEPS", 8)
    monkeypatch.setattr("bench.runs.energy.energy_counter", lambda device: None)  # two seconds a cell where there is one
    return {
        **tiny,
        "samplers": ("ddim", "heun"),
        "calls": (1, 5),
        "images": 50,
        "trajectory_images": 6,
        "batch_size": 16,
        "repetitions": 3,
        "device": "cpu",
        "threads": 1,
    }


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[list]:
    """Compilation by a backend that only traces, which takes no compiler: a list with an entry for each time it did."""
    own, compiled = torch.nn.Module.compile, []

    def backend(graph: torch.fx.GraphModule, _) -> Callable:
        compiled.append(graph)
        return graph.forward

    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **options: own(self, backend=backend, **options))
    yield compiled
    torch._dynamo.reset()


@pytest.fixture(scope="session")
def student(tiny: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of the card of a DSNO student of the tiny teacher, untrained: three points, labels, trained on "seed 5"."""
    folder = tmp_path_factory.mktemp("student")
    teacher = load_teacher(tiny["teacher"])
    torch.manual_seed(1)
    config = DSNOConfig(points=3, modes=2)
    network = from_teacher(teacher, config)
    card = {
        "kind": "dsno",
        "name": "tiny-dsno",
        "teacher": {"name": "tiny", "sha256": teacher.sha256},
        "network": teacher.network.config.values(),
        "operator": {"points": 3, "grid": config.grid, "modes": 2},
        "sigma_min": teacher.sigma_min,
        "sigma_max": teacher.sigma_max,
        "labels": "balanced",
        "noise_seeds": [5],
        "weights": "tiny-dsno.safetensors",
        "sha256": save_tensors(folder / "tiny-dsno.safetensors", network.state_dict()),
        "cost": {"student_forwards": 300, "teacher_forwards": 1000},
        "training": {
            "seconds": 60,
            "device": "a CPU",
            "images": 100,
            "curve": [{"step": s, "error@0": 1 / s, "seen_error": 0.9 / s} for s in (1, 2, 4)],
        },
    }
    write_json(folder / "tiny-dsno.json", card)
    return str(folder / "tiny-dsno.json")


@pytest.fixture
def one(small: dict) -> dict:
    """Options of a plan of one cell."""
    return small | {"samplers": ("ddim",), "calls": (3,)}


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe of the CIFAR-10 study, small, with its data beside it; campaigns of it leave no cards behind."""
    monkeypatch.setattr("samplers.models.zoo._trained", [])
    (tmp_path / "data").mkdir()
    return shrunk("cifar10", tmp_path / "data")
