"""A training's state on disk: weights, their averages, Adam's moments and the step, as safetensors."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samplers.errors import UserError
from samplers.models.weights import load_tensors, save_tensors

NAME = "checkpoint.safetensors"


@dataclass(frozen=True)
class State:
    """What a training changes, by the parameters' names.

    Attributes:
        parameters: of the network.
        ema: their moving averages.
        follower: parameters of a target network, if there is one.
        adam: the optimiser of `parameters`.
    """

    parameters: dict[str, nn.Parameter]
    ema: dict[str, Tensor]
    follower: dict[str, nn.Parameter]
    adam: torch.optim.Adam

    def save(self, path: Path, info: dict[str, Any]) -> None:
        """Write all of it, and `info`."""
        tensors = {f"raw/{k}": p for k, p in self.parameters.items()} | {f"ema/{k}": e for k, e in self.ema.items()}
        tensors |= {f"target/{k}": p for k, p in self.follower.items()}
        for k, p in self.parameters.items():
            moments = self.adam.state[p]
            tensors |= {f"m/{k}": moments["exp_avg"], f"v/{k}": moments["exp_avg_sq"], f"t/{k}": moments["step"]}
        save_tensors(path, tensors, info)

    @torch.no_grad()
    def load(self, path: Path, identity: dict[str, Any], same: Callable[[str, Any, Any], bool]) -> dict[str, Any]:
        """Read what `save` wrote, in place; returns its `info`.

        Args:
            path: the checkpoint.
            identity: of this training.
            same: whether a key of two identities, and what each says, are of one training.

        Raises:
            UserError: damaged, or of a training of another identity.
        """
        tensors, info = load_tensors(path)
        theirs, own = info["identity"], json.loads(json.dumps(identity))
        if differs := sorted(k for k in own.keys() | theirs.keys() if not same(k, own.get(k), theirs.get(k))):
            raise UserError(f"{path} is of another training ({', '.join(differs)} differ); choose another --out or remove it")
        for k, p in self.parameters.items():
            p.copy_(tensors[f"raw/{k}"])
            self.ema[k].copy_(tensors[f"ema/{k}"])
            self.adam.state[p] = {
                "step": tensors[f"t/{k}"].float().to(p.device),
                "exp_avg": torch.empty_like(p).copy_(tensors[f"m/{k}"]),
                "exp_avg_sq": torch.empty_like(p).copy_(tensors[f"v/{k}"]),
            }
        for k, p in self.follower.items():
            p.copy_(tensors[f"target/{k}"])
        return info


def slim(path: Path, out: Path) -> None:
    """Write a checkpoint at 10 bytes a parameter instead of 16 (12 instead of 20 with a target), for a journey.

    Weights stay float32; their averages become their difference from the weights, and that and Adam's moments bfloat16, whose
    rounding of 0.4 % a training does not notice. It goes on from there, but not bit for bit.
    """
    tensors, info = load_tensors(path)
    small = {}
    for name, value in tensors.items():
        kind, _, key = name.partition("/")
        if kind in ("ema", "target"):
            value = value - tensors[f"raw/{key}"]
        small[name] = value.bfloat16() if kind in ("ema", "target", "m", "v") else value
    save_tensors(out, small, info)


def restore(path: Path, out: Path) -> None:
    """Write the checkpoint that a training resumes from, out of one that `slim` wrote."""
    tensors, info = load_tensors(path)
    for name, value in tensors.items():
        kind, _, key = name.partition("/")
        if kind in ("ema", "target"):
            tensors[name] = tensors[f"raw/{key}"] + value.float()
        elif kind in ("m", "v"):
            tensors[name] = value.float()
    save_tensors(out, tensors, info)
