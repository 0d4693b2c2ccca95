"""The teacher: a trained network of any parameterisation, wrapped as a denoiser in sigma coordinates."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from samplers.errors import UserError, unknown
from samplers.schedule import CosineSchedule
from samplers.unet import UNet, UNetConfig
from samplers.weights import fill, load_tensors

ZOO = Path(__file__).parent / "zoo"


@runtime_checkable
class Denoiser(Protocol):
    """`denoiser(x, sigma, labels=None) -> x0_hat`, images NCHW in [-1, 1], x = x0 + sigma * eps (k-diffusion, EDM).

    sigma is a float, a 0-d tensor or shape [B]; labels int64 [B] or None. dtype and device follow x.
    """

    sigma_min: float
    sigma_max: float
    shape: tuple[int, int, int]
    num_classes: int

    def __call__(self, x: Tensor, sigma: float | Tensor, labels: Tensor | None = None) -> Tensor: ...


def schedule_of(denoiser: Denoiser) -> CosineSchedule:
    """The time of a denoiser's grids: its own `schedule` where it has one, else the cosine cut at its sigma range."""
    return getattr(denoiser, "schedule", None) or CosineSchedule(denoiser.sigma_min, denoiser.sigma_max)


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
        schedule: CosineSchedule,
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


@dataclass(frozen=True)
class ZooEntry:
    """A card in the zoo (or beside any weights): its path and content."""

    path: Path
    card: dict[str, Any]

    @property
    def weights(self) -> Path:
        return self.path.parent / self.card["weights"]


_trained: list[Path] = []
"""Folders of `add_zoo`."""


def add_zoo(folder: Path) -> None:
    """Find cards in `folder`, and in the folders right in it, before those that ship: a user's own trainings.

    Raises:
        UserError: no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder} to find cards in; name one that 'bench train' wrote")
    _trained.append(folder.resolve())


def added_zoos() -> list[Path]:
    """Folders of `add_zoo`, so that another process can add them too."""
    return list(_trained)


def zoo(kind: str, folder: Path = ZOO) -> dict[str, ZooEntry]:
    """Name -> card of what is in a folder, of one kind ("teacher", "extractor", ...); by default what ships.

    Raises:
        UserError: a card that is not JSON.
    """
    entries = {}
    for path in sorted(folder.glob("*.json")):
        try:
            card = json.loads(path.read_text())
        except ValueError as e:
            raise UserError(f"{path} is not a readable card ({e}); put it back or remove it") from e
        if isinstance(card, dict) and card.get("kind") == kind:
            entries[path.stem] = ZooEntry(path, card)
    return entries


def known_cards(kind: str, folder: Path = ZOO) -> dict[str, ZooEntry]:
    """As `zoo`, and before it the cards of the folders that `add_zoo` added, which win where names are the same."""
    entries: dict[str, ZooEntry] = {}
    for root in (*(p for f in _trained for p in (f, *sorted(f.glob("*/")))), folder):
        entries = {**entries, **{k: v for k, v in zoo(kind, root).items() if k not in entries}}
    return entries


def find_card(kind: str, name: str | Path, folder: Path = ZOO) -> ZooEntry:
    """The card of a name that ships in `folder` or that `add_zoo` added, or at a path to a card's JSON file.

    Raises:
        UserError: an unknown name, a card that is not JSON, or one of another kind.
    """
    shipped = known_cards(kind, folder)
    if str(name) in shipped:
        return shipped[str(name)]
    path = Path(name)
    if path.suffix != ".json":
        raise unknown(kind, str(name), shipped)
    try:
        card = json.loads(path.read_text())
    except (OSError, ValueError) as e:
        raise UserError(f"{path} is not a readable card ({e}); name a card's .json file or one of {sorted(shipped)}") from e
    if not isinstance(card, dict):
        raise UserError(f"{path} is not a readable card (no JSON object); name a card's .json file or one of {sorted(shipped)}")
    if card.get("kind") != kind:
        raise UserError(f"{path} is the card of a {card.get('kind')}, not of a {kind}")
    return ZooEntry(path, card)


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
        schedule = CosineSchedule(card["sigma_min"], card["sigma_max"])
        teacher = Teacher(network, card["parameterisation"], schedule, card["name"], card["sha256"], card)
    except (KeyError, TypeError) as e:
        raise UserError(f"{entry.path}: the card lacks a key or has a wrong one: {e}") from e
    fill(network, tensors, entry.weights)
    return teacher.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
