"""Trained students on disk: load one, refuse what does not fit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dsno.network import DSNO, DSNOConfig
from dsno.temporal import FASTEST
from samplers.documents import Document
from samplers.errors import UserError
from samplers.models.unet import UNetConfig
from samplers.models.weights import fill, load_tensors
from samplers.models.zoo import ZooEntry
from samplers.schedule import Cosine

ZOO = Path(__file__).parent / "zoo"
KIND = "dsno"


def method_of(card: Mapping[str, Any]) -> str:
    """What a card's student is: "dsno", "knowledge_distillation" (M = 1) or "no_temporal" (M unconnected outputs)."""
    operator = card.get("operator") or {}
    if operator.get("modes"):
        return "dsno"
    return "knowledge_distillation" if operator.get("points") == 1 else "no_temporal"


def load_student(entry: ZooEntry, device: torch.device | str = "cpu", form: str = FASTEST) -> tuple[DSNO, Cosine]:
    """The network of a card, ready to sample (eval mode, folded), and the schedule its times are of.

    Raises:
        UserError: a card without a key; weights missing, damaged, of another hash, another M or another image shape.
    """
    card = entry.card
    try:
        tensors, info = load_tensors(entry.weights, card["sha256"])
        if info.get("operator", card["operator"]) != card["operator"]:
            raise UserError(
                f"{entry.path}: the card says {card['operator']}, its weights are of {info['operator']}; fetch both again"
            )
        backbone = UNetConfig.of(Document(card["network"], f"{entry.path}: network"))
        operator = DSNOConfig.of(Document(card["operator"], f"{entry.path}: operator"))
        network = DSNO(backbone, operator, form)
        schedule = Cosine(card["sigma_min"], card["sigma_max"])
    except (KeyError, TypeError) as e:
        raise UserError(f"{entry.path}: the card lacks a key or has a wrong one: {e}") from e
    fill(network, tensors, entry.weights)
    network.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
    return network.fold(), schedule
