"""Trained students on disk: load one, refuse what does not fit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dsno.network import DSNO, DSNOConfig
from dsno.temporal import FASTEST
from samplers.models.cards import NetworkCard, unet_of, weights_of
from samplers.models.zoo import ZooEntry
from samplers.schedule import Cosine

ZOO = Path(__file__).parent / "zoo"
KIND = "dsno"


class DSNOCard(NetworkCard):
    """A DSNO: its backbone, and what it adds to that."""

    operator: DSNOConfig


def method_of(card: Mapping[str, Any]) -> str:
    """What a card's student is: "dsno", "knowledge_distillation" (M = 1) or "no_temporal" (M unconnected outputs)."""
    operator = card.get("operator")
    if not isinstance(operator, dict):
        return "no_temporal"
    if operator.get("modes"):
        return "dsno"
    return "knowledge_distillation" if operator.get("points") == 1 else "no_temporal"


def load_student(entry: ZooEntry, device: torch.device | str = "cpu", form: str = FASTEST) -> tuple[DSNO, Cosine]:
    """The network of a card, ready to sample (eval mode, folded), and the schedule its times are of.

    Raises:
        UserError: a card without a key; weights missing, damaged, of another hash, another M or another image shape.
    """
    card = entry.read(DSNOCard)
    tensors = weights_of(entry, card.sha256, stamped=("operator",))
    network = unet_of(entry, card, lambda: DSNO(card.network, card.operator, form), tensors)
    network.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
    return network.fold(), card.schedule()
