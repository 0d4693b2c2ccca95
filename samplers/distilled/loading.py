"""Students that are the teacher's network with other weights: load one, make a fresh one."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from samplers.errors import UserError, unknown
from samplers.models.unet import UNet, parameter_count
from samplers.models.unet_teacher import UNetTeacher, restore
from samplers.models.weights import fill
from samplers.models.zoo import ZooEntry
from samplers.training.data import ImageSet

KIND = "student"


def as_teacher(like: UNetTeacher, tensors: Mapping[str, Tensor]) -> UNetTeacher:
    """A trainable network like a teacher's, with weights of its own and no dropout, wrapped as the teacher is.

    Students regress what a teacher says; the papers of progressive and of consistency distillation leave dropout out too.
    """
    network = UNet(replace(like.network.config, dropout=0.0))
    fill(network, tensors, like.name)
    copy = UNetTeacher(network, like.parameterisation, like.schedule)
    return copy.to(next(like.parameters()).device).to(memory_format=torch.channels_last)


def card_of(method: str, teacher: UNetTeacher, label_dropout: float) -> dict[str, Any]:
    """What the cards of all students of `teacher` say, whatever taught them."""
    return {
        "kind": KIND,
        "method": method,
        "teacher": {"name": teacher.name, "sha256": teacher.sha256},
        "network": replace(teacher.network.config, dropout=0.0).to_dict(),
        "parameterisation": teacher.parameterisation,
        "sigma_min": teacher.sigma_min,
        "sigma_max": teacher.sigma_max,
        "labels": "none" if not teacher.num_classes else "any" if label_dropout else "balanced",
        "noise_seeds": [],  # they learn from images with noise of any seed
        "parameters": parameter_count(teacher.network),
    }


def check_images(images: ImageSet, teacher: UNetTeacher, where: str) -> None:
    """Refuse images of another shape, or of more classes, than the teacher's."""
    if tuple(images.images.shape[1:]) != teacher.shape:
        raise UserError(f"{where}: images of {tuple(images.images.shape[1:])}, teacher {teacher.name} makes {teacher.shape}")
    if teacher.num_classes and images.num_classes > teacher.num_classes:
        raise UserError(f"{where}: images of {images.num_classes} classes, teacher {teacher.name} knows {teacher.num_classes}")


def check_choice(value: Any, known: Iterable[str], key: str, where: str) -> None:
    """Refuse what is not one of the known words."""
    if not isinstance(value, str) or value not in known:
        raise unknown(f"{key} of {where}", str(value), known)


def load_student(entry: ZooEntry, device: torch.device | str = "cpu") -> UNetTeacher:
    """The network of a student's card as a denoiser, ready to sample (eval mode).

    Raises:
        UserError: a card without a key; weights missing, damaged, of another hash, method or number of steps.
    """
    return restore(entry, device, stamped=("method", "steps"))
