"""The teacher: a trained network of any parameterisation, wrapped as a denoiser in sigma coordinates."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samplers.errors import UserError, unknown
from samplers.models.unet import UNet, UNetConfig
from samplers.models.weights import fill, load_tensors
from samplers.models.zoo import find_card
from samplers.schedule import Cosine

# What each parameterisation's network output F means, given x and sigma in sigma coordinates (VP x is x * alpha,
# alpha = 1 / sqrt(1 + sigma^2)). arXiv 2202.00512, section 4: v = alpha eps - sigma_vp x0.
PARAMETERISATIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "x": lambda x, sigma, f: f,
    "eps": lambda x, sigma, f: x - sigma * f,
    "v": lambda x, sigma, f: (x - sigma * torch.sqrt(1 + sigma**2) * f) / (1 + sigma**2),
}


class Teacher(nn.Module):
    """A variance-preserving network as a `Denoiser`.

    Args:
        network: called as network(x_vp [B, C, H, W], logsnr [B], labels [B] or None).
        parameterisation: what the network predicts: "x", "eps" or "v".
        schedule: its cosine schedule, which also gives sigma_min and sigma_max.
        name, sha256: what records call it and the hash of its weights (None for weights not from a file).
    """

    def __init__(
        self,
        network: UNet,
        parameterisation: str,
        schedule: Cosine,
        name: str = "teacher",
        sha256: str | None = None,
        card: dict[str, Any] | None = None,
    ):
        super().__init__()
        if parameterisation not in PARAMETERISATIONS:
            raise unknown("parameterisation", parameterisation, PARAMETERISATIONS)
        self.network = network
        self.parameterisation = parameterisation
        self.schedule = schedule
        self.name = name
        self.sha256 = sha256
        self.card = card or {}
        self.sigma_min, self.sigma_max = schedule.sigma_min, schedule.sigma_max
        self.shape = (network.config.channels, network.config.image_size, network.config.image_size)
        self.num_classes = network.config.classes

    def forward(self, x: Tensor, sigma: float | Tensor, labels: Tensor | None = None) -> Tensor:
        """x0_hat, shaped like x [B, C, H, W], for sigma a float or a tensor (0-d or [B])."""
        if isinstance(sigma, Tensor):
            s = sigma.to(x).expand(x.shape[0])
            logsnr = -2 * s.log()
        else:
            s = torch.full((x.shape[0],), sigma, device=x.device, dtype=x.dtype)
            logsnr = torch.full_like(s, -2 * math.log(sigma))
        s = s[:, None, None, None]
        f = self.network(x / torch.sqrt(1 + s**2), logsnr, labels).to(x.dtype)  # autocast returns its own
        return PARAMETERISATIONS[self.parameterisation](x, s, f)


def load_teacher(name: str | Path, *, device: torch.device | str = "cpu") -> Teacher:
    """Load a teacher by its name in the zoo, or by the path of its card, ready to sample (eval mode, float32).

    Raises:
        UserError: unknown name; a card without a key; weights missing, damaged, of another hash or of another network.
    """
    entry = find_card("teacher", name)
    card = entry.card
    try:
        tensors, _ = load_tensors(entry.weights, card["sha256"])
        network = UNet(UNetConfig.from_dict(card["network"]))
        schedule = Cosine(card["sigma_min"], card["sigma_max"])
        teacher = Teacher(network, card["parameterisation"], schedule, card["name"], card["sha256"], card)
    except (KeyError, TypeError) as e:
        raise UserError(f"{entry.path}: the card lacks a key or has a wrong one: {e}") from e
    fill(network, tensors, entry.weights)
    return teacher.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
