"""Trainings of students: a teacher besides, noises held out, and a network that starts as a copy of the teacher's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from samplers.documents import Document
from samplers.errors import UserError
from samplers.models.unet import UNet, parameter_count
from samplers.models.unet_teacher import UNetTeacher, load_unet_teacher
from samplers.models.weights import fill
from samplers.training.data import ImageSet
from samplers.training.held_out import HeldOut
from samplers.training.precision import reproducible_float32
from samplers.training.recipe import StudentRecipe
from samplers.training.trainer import Training

S = TypeVar("S", bound=StudentRecipe)


class StudentTraining(Training[S]):
    """A training by a section with a teacher and held-out noises.

    It computes in the float32 that measurements use: a GPU scores the student while it trains as it is scored afterwards.
    """

    Recipe: ClassVar[type[StudentRecipe]]

    def __init__(
        self, recipe: Document, data: Path | None, out: Path, *, device: torch.device | str = "cpu", quiet: bool = False
    ):
        reproducible_float32()
        super().__init__(recipe, data, out, device=device, quiet=quiet)
        self.world.share(self.r.optimisation.part, self.where)
        self.teacher = load_unet_teacher(self.r.teacher, device=self.device)

    def images(self, split: str) -> ImageSet:
        """As `Training.images`; refuses images of another shape, or of more classes, than the teacher's."""
        images, teacher = super().images(split), self.teacher
        if tuple(images.images.shape[1:]) != teacher.shape:
            shape = tuple(images.images.shape[1:])
            raise UserError(f"{self.where}: images of {shape}, teacher {teacher.name} makes {teacher.shape}")
        if teacher.num_classes and images.num_classes > teacher.num_classes:
            told = f"images of {images.num_classes} classes, teacher {teacher.name} knows {teacher.num_classes}"
            raise UserError(f"{self.where}: {told}")
        return images

    def noises(self) -> HeldOut:
        """The recipe's noises that the student is scored by."""
        return HeldOut(self.teacher, self.r.held_out, self.device)

    def teacher_told(self) -> dict[str, Any]:
        """The teacher, as cards and identities tell of it."""
        return {"name": self.teacher.name, "sha256": self.teacher.sha256}


def as_teacher(like: UNetTeacher, tensors: Mapping[str, Tensor]) -> UNetTeacher:
    """A trainable network like a teacher's, with weights of its own and no dropout, wrapped as the teacher is.

    Students regress what a teacher says; the papers of progressive and of consistency distillation leave dropout out too.
    """
    network = UNet(like.network.config.model_copy(update={"dropout": 0.0}))
    fill(network, tensors, like.name)
    copy = UNetTeacher(network, like.parameterisation, like.schedule)
    return copy.to(next(like.parameters()).device).to(memory_format=torch.channels_last)


def card_of(teacher: UNetTeacher, label_dropout: float) -> dict[str, Any]:
    """What the cards of all students of a teacher's own network say, whatever taught them."""
    return {
        "kind": "student",
        "teacher": {"name": teacher.name, "sha256": teacher.sha256},
        "network": teacher.network.config.model_copy(update={"dropout": 0.0}).values(),
        "parameterisation": teacher.parameterisation,
        "sigma_min": teacher.sigma_min,
        "sigma_max": teacher.sigma_max,
        "labels": "none" if not teacher.num_classes else "any" if label_dropout else "balanced",
        "noise_seeds": [],  # they learn from images with noise of any seed
        "parameters": parameter_count(teacher.network),
    }
