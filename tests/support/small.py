"""Exact Gaussian data, and a teacher, images, recipes and students small enough for seconds: 8 x 8 images, five classes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor, nn

import samplers
from samplers import Cosine, UNetTeacher, analytic
from samplers.models.sizes import UNetConfig
from samplers.models.unet import UNet
from samplers.models.weights import save_tensors

MU = torch.tensor([0.5, -0.3, 0.1, -0.6], dtype=torch.float64)[:, None, None]
SPREAD = torch.tensor([0.3, 0.5, 1.0, 1.3], dtype=torch.float64)[:, None, None]


class Gaussian(nn.Module):
    """Data N(MU, diag(SPREAD^2)), shape (4, 1, 1), as a module, float64."""

    num_classes = 0
    shape = (4, 1, 1)

    def __init__(self, sigma_min: float = 0.002, sigma_max: float = 80.0):
        super().__init__()
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        self.schedule, self.exact = Cosine(sigma_min, sigma_max), analytic.Gaussian(MU, SPREAD, sigma_min, sigma_max)
        self.state = self.exact.state

    def forward(self, x: Tensor, sigma: float | Tensor, labels: Tensor | None = None) -> Tensor:
        return self.exact(x, sigma)


def wide(sigma: float | Tensor) -> Tensor:
    """A level, or one for each image, to go with images [B, C, H, W]."""
    return torch.as_tensor(sigma, dtype=torch.float64).reshape(-1, 1, 1, 1)


def noised(s: Tensor, seed: int = 0) -> Tensor:
    """Gaussian data with noise of levels s [B], float64, as the trainings draw them."""
    generator = torch.Generator().manual_seed(seed)
    x0, eps = (torch.randn(len(s), *Gaussian.shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return MU + SPREAD * x0 + wide(s) * eps


def start_of(teacher: UNetTeacher, batch: int = 3) -> Tensor:
    """Noise to sample from."""
    return samplers.noise(9, range(batch), teacher.shape)


def write_json(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def make_teacher() -> UNetTeacher:
    """Random weights everywhere: fresh networks predict 0 (zero convolutions)."""
    generator = torch.Generator().manual_seed(0)
    network = UNet(
        UNetConfig(channels=1, image_size=8, width=8, multipliers=(1,), blocks=1, attention=(), embedding=16, classes=5)
    )
    with torch.no_grad():
        for p in network.parameters():
            values = torch.randn(p.shape, generator=generator)
            p.copy_(0.1 * values if p.ndim == 1 else values / p[0].numel() ** 0.5)
        for module in network.modules():
            if isinstance(module, nn.GroupNorm):
                module.weight.add_(1.0)
        network.conv_out.weight.mul_(0.25)  # no chaos that magnifies float32's rounding
    return UNetTeacher(network, "v", Cosine(0.002, 80.0))


def shaken(teacher: UNetTeacher, seed: int, size: float = 0.1) -> dict[str, Tensor]:
    """A teacher's weights, each changed by about a tenth of itself: a student's, for tests that train none."""
    generator = torch.Generator().manual_seed(seed)
    return {k: v * (1 + size * torch.randn(v.shape, generator=generator)) for k, v in teacher.network.state_dict().items()}


def write_teacher(folder: Path, seed: int | None = None) -> Path:
    """The card of a teacher (of another one where a seed is given), its weights beside it."""
    teacher = make_teacher()
    weights = teacher.network.state_dict() if seed is None else shaken(teacher, seed)
    card = {
        "kind": "teacher",
        "name": "tiny",
        "weights": "tiny.safetensors",
        "sha256": save_tensors(folder / "tiny.safetensors", weights),
        "network": teacher.network.config.values(),
        "parameterisation": teacher.parameterisation,
        "sigma_min": teacher.sigma_min,
        "sigma_max": teacher.sigma_max,
    }
    return write_json(folder / "tiny.json", card)


def write_student(folder: Path, teacher: UNetTeacher, method: str, steps: int | None = None, **changes: Any) -> Path:
    """The card of a student with shaken weights beside it, as the trainers write it."""
    name = method if steps is None else f"{method}-{steps}"
    told = {"method": method} | ({} if steps is None else {"steps": steps})
    weights = shaken(teacher, seed=steps or 100)
    card = {
        "kind": "student",
        "name": name,
        **told,
        "weights": f"{name}.safetensors",
        "sha256": save_tensors(folder / f"{name}.safetensors", weights, {"name": name, **told}),
        "teacher": {"name": teacher.name, "sha256": teacher.sha256},
        "network": teacher.network.config.values(),
        "parameterisation": teacher.parameterisation,
        "sigma_min": teacher.sigma_min,
        "sigma_max": teacher.sigma_max,
        "labels": "balanced",
        "noise_seeds": [],
        "cost": {"student_forwards": 1, "teacher_forwards": 2},
        "training": {"seconds": 3},
    }
    return write_json(folder / f"{name}.json", card | changes)


def write_images(folder: Path, count: int = 12, classes: int = 5, size: int = 8) -> Path:
    """Noisy bright squares, one place a class, in EDM's layout."""
    rng, labels = np.random.default_rng(0), []
    folder.mkdir(parents=True)
    for i in range(count):
        image = rng.integers(0, 60, (size, size), dtype=np.uint8)
        image[i % classes : i % classes + 3, 2:6] += 150
        Image.fromarray(image).save(folder / f"img{i:08d}.png")
        labels.append([f"img{i:08d}.png", i % classes])
    write_json(folder / "dataset.json", {"labels": labels})
    return folder


OPTIMISATION = {
    "steps": 4,
    "batch": 4,
    "learning_rate": 2e-3,
    "warmup": 2,
    "ema": 0.5,
    "checkpoint_seconds": -1.0,  # any time is longer: a checkpoint after each update
    "validate_every": 2,
}
LADDER, MAPPERS = (1, 2, 4, 8), ("consistency", "consistency_training")
METHODS, LABELS = ("progressive", *MAPPERS), torch.tensor([0, 2, 4])


def progressive(teacher: Path, /, **changes: Any) -> dict[str, Any]:
    """A recipe's section `progressive`: three rungs, the last longer."""
    return {
        "name": "ladder",
        "teacher": str(teacher),
        "start": 8,
        "end": 1,
        "weights": "truncated_snr",
        "metric": "l2",
        "label_dropout": 0.0,
        "held_out": {"count": 5, "seed": 77},
        "optimisation": OPTIMISATION,
        "rungs": {1: {"steps": 5, "batch": 3}},
    } | changes


def consistency(teacher: Path, /, **changes: Any) -> dict[str, Any]:
    """A recipe's section `consistency`; without `ode_step`, `consistency_training`. A change to None leaves the key out."""
    section = {
        "name": "mapper",
        "teacher": str(teacher),
        "grid": "uniform_t",
        "intervals": [2, 8],
        "ode_step": "ddim",
        "metric": "pseudo_huber",
        "target_ema": 0.5,
        "label_dropout": 0.0,
        "held_out": {"count": 5, "seed": 77},
        "optimisation": OPTIMISATION,
    } | changes
    return {k: v for k, v in section.items() if v is not None}


def write_recipe(path: Path, **sections: Any) -> Path:
    """A recipe whose data are the folder `images`."""
    data = {"train": ["images"], "held_out": ["images"]}
    path.write_text(yaml.safe_dump({"data": data, **sections}))
    return path


def relative(a: Tensor, b: Tensor) -> float:
    """Largest difference, by the largest true number."""
    return float((a - b).detach().abs().max() / b.detach().abs().max())


TOGETHER = """
from pathlib import Path
from samplers.distilled.consistency_training import ConsistencyDistillation
from samplers.distilled.progressive_training import Ladder
"""
