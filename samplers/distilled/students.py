"""Students that are the teacher's network with other weights: load one, make a fresh one."""

from collections.abc import Mapping

import torch
from torch import Tensor

from samplers.errors import UserError
from samplers.schedule import CosineSchedule
from samplers.teacher import Teacher, ZooEntry
from samplers.unet import UNet, UNetConfig
from samplers.weights import fill, load_tensors

KIND = "student"


def as_teacher(like: Teacher, tensors: Mapping[str, Tensor]) -> Teacher:
    """A trainable network like a teacher's, with weights of its own, wrapped as the teacher is."""
    network = UNet(like.network.config)
    fill(network, tensors, like.name)
    copy = Teacher(network, like.parameterisation, like.schedule)
    return copy.to(next(like.parameters()).device).to(memory_format=torch.channels_last)


def load_student(entry: ZooEntry, device: torch.device | str = "cpu") -> Teacher:
    """The network of a student's card as a denoiser, ready to sample (eval mode).

    Raises:
        UserError: a card without a key; weights missing, damaged, of another hash, method or number of steps.
    """
    card = entry.card
    try:
        tensors, info = load_tensors(entry.weights, card["sha256"])
        for key in ("method", "steps"):
            if info.get(key) != card.get(key):
                raise UserError(
                    f"{entry.path}: the card says {key} {card.get(key)}, its weights are of {info.get(key)}; fetch both again"
                )
        network = UNet(UNetConfig.from_dict(card["network"]))
        schedule = CosineSchedule(card["sigma_min"], card["sigma_max"])
        student = Teacher(network, card["parameterisation"], schedule, card["name"], card["sha256"], card)
    except (KeyError, TypeError) as e:
        raise UserError(f"{entry.path}: the card lacks a key or has a wrong one: {e}") from e
    fill(network, tensors, entry.weights)
    return student.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
