"""Trained students on disk: find the one of a teacher, load it, refuse what does not fit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dsno.network import DSNO, DSNOConfig
from dsno.temporal import FASTEST
from samplers.errors import UserError
from samplers.schedule import CosineSchedule
from samplers.teacher import ZooEntry, find_card, zoo
from samplers.unet import UNetConfig
from samplers.weights import fill, load_tensors

ZOO = Path(__file__).parent / "zoo"
KIND = "dsno"


def find_student(name: str, method: str, teacher_sha256: str | None) -> ZooEntry:
    """The card of a student.

    Args:
        name: in the zoo, or the path of a card; "" for the shipped student of this method and teacher.
        method: "dsno" or "knowledge_distillation"; only for an empty name.
        teacher_sha256: of the teacher that it must be a student of.

    Raises:
        UserError: unknown name, no student of this teacher, or the student of another teacher.
    """
    if name:
        entry = find_card(KIND, name, ZOO)
        if (method == "knowledge_distillation") != (method_of(entry.card) == "knowledge_distillation"):
            raise UserError(
                f"{name} is a student of method {method_of(entry.card)}; write {method_of(entry.card)}:student={name}"
            )
        theirs = entry.card.get("teacher") or {}
        if theirs.get("sha256") != teacher_sha256:
            raise UserError(
                f"{name} is a student of teacher {theirs.get('name')} ({str(theirs.get('sha256'))[:12]}...), not of this one "
                f"({str(teacher_sha256)[:12]}...); train one with 'bench train dsno'"
            )
        return entry
    for entry in zoo(KIND, ZOO).values():
        if entry.card["teacher"]["sha256"] == teacher_sha256 and method_of(entry.card) == method:
            return entry
    raise UserError(
        f"no {method} student of this teacher ({str(teacher_sha256)[:12]}...) ships; train one with 'bench train dsno' "
        f"and name its card: {method}:student=PATH.json"
    )


def method_of(card: Mapping[str, Any]) -> str:
    """What a card's student is: "dsno", "knowledge_distillation" (M = 1) or "no_temporal" (M unconnected outputs)."""
    operator = card.get("operator") or {}
    if operator.get("modes"):
        return "dsno"
    return "knowledge_distillation" if operator.get("points") == 1 else "no_temporal"


def load_student(entry: ZooEntry, device: torch.device | str = "cpu", form: str = FASTEST) -> tuple[DSNO, CosineSchedule]:
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
        network = DSNO(UNetConfig.from_dict(card["network"]), DSNOConfig(**card["operator"]), form)
        schedule = CosineSchedule(card["sigma_min"], card["sigma_max"])
    except (KeyError, TypeError) as e:
        raise UserError(f"{entry.path}: the card lacks a key or has a wrong one: {e}") from e
    fill(network, tensors, entry.weights)
    network.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
    return network.fold(), schedule
