"""The teacher that `bench train teacher` makes: our U-Net on the cosine VP schedule, which predicts x, eps or v."""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samplers.errors import UserError, unknown
from samplers.models.cards import UNetCard, trained_for, unet_of, weights_of
from samplers.models.scaling import VP, Scaling, vp
from samplers.models.teacher import Description, Teacher, load_teacher
from samplers.models.unet import UNet
from samplers.models.zoo import ZooEntry, find_card
from samplers.schedule import Cosine


class UNetTeacher(Teacher):
    """A variance-preserving U-Net as a `Teacher`.

    Args:
        network: called as network(x_vp [B, C, H, W], logsnr [B], labels [B] or None).
        parameterisation: what the network predicts: "x", "eps" or "v".
        schedule: its cosine schedule, which also gives sigma_min and sigma_max.
        name, sha256: what records call it and the hash of its weights (None for weights not from a file).
    """

    schedule: Cosine
    scaling: Scaling

    def __init__(
        self,
        network: UNet,
        parameterisation: str,
        schedule: Cosine,
        name: str = "teacher",
        sha256: str | None = None,
        card: dict[str, Any] | None = None,
    ):
        if parameterisation not in VP:
            raise unknown("parameterisation", parameterisation, VP)
        c, told = network.config, {"data": (card or {}).get("data_sha256"), "sigma_end": (card or {}).get("sigma_end")}
        shape, scaling = (c.channels, c.image_size, c.image_size), vp(parameterisation)
        super().__init__(name, shape, c.classes, schedule, scaling=scaling, sha256=sha256, card=card, **told)
        self.network, self.parameterisation = network, parameterisation

    def forward(self, x: Tensor, sigma: float | Tensor, labels: Tensor | None = None) -> Tensor:
        return self.scaling.denoise(lambda x_vp, logsnr: self.network(x_vp, logsnr, labels), x, sigma)

    def networks(self) -> list[nn.Module]:
        return [self.network]

    def describe(self) -> Description:
        took = self.card.get("training") or {}
        return super().describe()._replace(trained=trained_for(took.get("seconds"), took.get("device")))


def load(spec: str, device: torch.device | str) -> Teacher:
    """`zoo:NAME` or `zoo:PATH.json`, the kind of a teacher that names none; a card with an `architecture` is of another code.

    Raises:
        UserError: unknown name; a card without a key; weights missing, damaged, of another hash or of another network.
    """
    entry = find_card("teacher", spec)
    if "architecture" in entry.card:
        return import_module("samplers.models.foreign.teacher").restore(entry, device)
    return restore(entry, device)


def restore(entry: ZooEntry, device: torch.device | str, stamped: tuple[str, ...] = ()) -> UNetTeacher:
    """The network of a card, a teacher's or a student's, ready to sample (eval mode, float32).

    Args:
        stamped: keys of which the weights' file must say what the card does.

    Raises:
        UserError: as `load`.
    """
    card = entry.read(UNetCard)
    network = unet_of(entry, card, lambda: UNet(card.network), weights_of(entry, card.sha256, stamped))
    teacher = UNetTeacher(network, card.parameterisation, card.schedule(), card.name, card.sha256, entry.card)
    return teacher.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)


def load_unet_teacher(spec: str | Path, *, device: torch.device | str = "cpu") -> UNetTeacher:
    """As `load_teacher`, for trainings of students, which start from the teacher's own network.

    Raises:
        UserError: as `load_teacher`, and for a teacher of another kind.
    """
    teacher = load_teacher(spec, device=device)
    if not isinstance(teacher, UNetTeacher):
        raise UserError(f"{spec}: a student starts from the network of a teacher that 'bench train teacher' made; name one")
    return teacher
