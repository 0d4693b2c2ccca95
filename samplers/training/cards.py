"""Write what a training made: fp16 weights and the card that names them, ready for the zoo."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from samplers.files import write_json
from samplers.models.weights import save_tensors
from samplers.training.loop import Trained
from samplers.training.precision import cpu_name


def machine(device: torch.device) -> str:
    """The machine in a few words: the GPU's name, or the CPU's and its number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{cpu_name()}, {torch.get_num_threads()} threads"


def write_zoo(
    out: Path,
    name: str,
    marks: dict[str, Any],
    card: dict[str, Any],
    trained: Trained,
    device: torch.device,
    curve: list[dict[str, Any]],
) -> None:
    """Save `trained.ema` in fp16 as `name.safetensors` and its card as `name.json` in `out`.

    The card says `marks` (which the weights' file says too: what shapes do not tell) and `card`, and gains name, weights,
    sha256, and of the training its seconds, machine, last validation and learning curve.
    """
    digest = save_tensors(out / f"{name}.safetensors", {k: v.half() for k, v in trained.ema.items()}, {"name": name, **marks})
    training = {
        "seconds": round(trained.seconds),
        "device": machine(device),
        "images": trained.images,
        "steps": trained.steps,
        "torch": torch.__version__,
        "finished": datetime.now(UTC).strftime("%Y-%m-%d"),
        "validation": trained.last,
        "curve": curve,
    }
    full = {"name": name, **marks, **card, "weights": f"{name}.safetensors", "sha256": digest, "training": training}
    write_json(out / f"{name}.json", full)
