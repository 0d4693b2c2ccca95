"""A teacher, its trajectories and students, small enough for seconds: random weights, 8 x 8 images, three classes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import processes
import torch
import yaml
from torch import Tensor, nn

from dsno.network import DSNO, DSNOConfig, from_teacher
from dsno.training import DSNOTraining
from dsno.trajectory_making import TrajectoryMaking
from samplers import Cosine, UNetTeacher, analytic
from samplers.documents import Document
from samplers.models.sizes import UNetConfig
from samplers.models.unet import UNet
from samplers.models.weights import save_tensors

ROOT = Path(__file__).parents[2]
CHECKED = 6  # trajectories solved again with more steps, instead of 64
SIZES = UNetConfig(
    channels=1, image_size=8, width=8, multipliers=(1, 2), blocks=1, attention=(4,), heads=1, embedding=16, classes=3
)


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """With no zero weights (fresh networks predict 0: zero convolutions), tame enough not to magnify float32's rounding."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in network.parameters():
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(0.1 * noise if p.ndim == 1 else noise / p[0].numel() ** 0.5)
        for module in network.modules():
            if isinstance(module, nn.GroupNorm):
                module.weight.add_(1.0)
        if isinstance(network, UNet):
            network.conv_out.weight.mul_(0.25)
    return network.eval().requires_grad_(False)


def mixing(network: DSNO, seed: int = 1, size: float = 1.0) -> DSNO:
    """With temporal layers that matter: fresh ones are nearly the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in network.temporal:
            layer.weight.copy_(size * torch.randn(layer.weight.shape, generator=generator) / layer.channels**0.5)
    return network


def teacher_of(config: UNetConfig = SIZES, parameterisation: str = "x") -> UNetTeacher:
    network = randomised(UNet(config))
    return UNetTeacher(network, parameterisation, Cosine(0.01, 20.0)).eval().requires_grad_(False)


def write_teacher(folder: Path, name: str = "tiny", seed: int = 0, **changes: Any) -> Path:
    """The card of a random x-teacher, weights beside it."""
    network = randomised(UNet(SIZES), seed)
    card = {
        "kind": "teacher",
        "name": name,
        "weights": f"{name}.safetensors",
        "sha256": save_tensors(folder / f"{name}.safetensors", network.state_dict()),
        "network": SIZES.values(),
        "parameterisation": "x",
        "sigma_min": 0.01,
        "sigma_max": 20.0,
    }
    return write_json(folder / f"{name}.json", card | changes)


def write_student(folder: Path, teacher: UNetTeacher, config: DSNOConfig, **changes: Any) -> Path:
    """The card of a student with random temporal layers, weights beside it."""
    network = mixing(from_teacher(teacher, config))
    operator = {"points": config.points, "grid": config.grid, "modes": config.modes}
    info = {"name": "student", "operator": operator}
    card = {
        "kind": "dsno",
        "name": "student",
        "weights": "student.safetensors",
        "sha256": save_tensors(folder / "student.safetensors", network.state_dict(), info),
        "teacher": {"name": teacher.name, "sha256": teacher.sha256},
        "network": teacher.network.config.values(),
        "operator": operator,
        "sigma_min": teacher.sigma_min,
        "sigma_max": teacher.sigma_max,
        "labels": "balanced",
        "noise_seeds": [5],
        "cost": {"student_forwards": 1, "teacher_forwards": 2},
        "training": {"seconds": 3},
    }
    return write_json(folder / "student.json", card | changes)


class Gaussian(analytic.Gaussian):
    """With its path from x = sigma_max z, z float32 or float64."""

    def at(self, z: Tensor, sigma: float) -> Tensor:
        """The state at a noise level, float64."""
        return self.state(self.sigma_max * z.double(), self.sigma_max, sigma)

    def image(self, z: Tensor, sigma: float) -> Tensor:
        """x0_hat there."""
        return self(self.at(z, sigma), sigma)


def write_json(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def making(teacher: Path, /, **changes: Any) -> dict[str, Any]:
    """A recipe's section `trajectories`."""
    return {
        "teacher": str(teacher),
        "solver": "dpmpp_2m",
        "steps": 6,
        "grids": {"quadratic": 4},
        "target": "x0",
        "count": 10,
        "seed": 5,
        "labels": "balanced",
        "shard": 4,
        "batch": 3,
    } | changes


def learning(teacher: Path, /, **optimisation: Any) -> dict[str, Any]:
    """A recipe's section `dsno`: eight updates, a checkpoint after each."""
    return {
        "name": "learner",
        "teacher": str(teacher),
        "network": {"points": 4, "grid": "quadratic", "modes": 2},
        "target": "x0",
        "weights": "snr",
        "loss": {"l1": 1.0},
        "features": "teacher",
        "trajectories": 10,
        "held_out": {"count": 5, "seed": 77},
        "optimisation": {
            "steps": 8,
            "batch": 4,
            "learning_rate": 1e-3,
            "warmup": 2,
            "ema": 0.9,
            "checkpoint_seconds": -1.0,  # any time is longer
            "validate_every": 4,
        }
        | optimisation,
    }


def write_recipe(path: Path, **sections: Any) -> Path:
    path.write_text(yaml.safe_dump(sections))
    return path


def train_student(section: dict[str, Any], data: Path, out: Path) -> Path:
    """A student by a recipe's section `dsno`; its card."""
    return DSNOTraining(Document({"dsno": section}, "recipe.yaml"), data, out, quiet=True).run()


def make(folder: Path, teacher_card: Path, **changes: Any) -> dict[str, Any]:
    """Trajectories of the tiny teacher in a folder; returns their manifest."""
    recipe = write_recipe(folder.parent / f"{folder.name}.yaml", trajectories=making(teacher_card, **changes))
    return json.loads(TrajectoryMaking.train(recipe, None, folder, quiet=True).read_text())


def wanted_at(times: Sequence[float], schedule: Cosine) -> list[float]:
    """Noise levels at times, 0 at time 0."""
    return [schedule.sigma(t) if t > 0 else 0.0 for t in times]


def in_two_processes(code: str, folder: Path) -> None:
    """Run `code` twice at once, as torchrun would on one machine."""
    processes.in_two_processes(f"import dsno.trajectory_making as t\nt.CHECKED = {CHECKED}\n{code}", folder)


def images(seed: int, *shape: int) -> Tensor:
    """Gaussian, of a shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def relative(a: Tensor, b: Tensor) -> float:
    """Largest difference, by the largest true number."""
    return float((a - b).detach().abs().max() / b.detach().abs().max())
