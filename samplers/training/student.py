"""Trainings of students: a teacher besides, noises held out, a budget, and a network that starts as the teacher's."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from samplers.documents import Document
from samplers.errors import UserError
from samplers.flops import counting, flops
from samplers.models.unet import UNet, parameter_count
from samplers.models.unet_teacher import UNetTeacher, load_unet_teacher
from samplers.models.weights import fill
from samplers.training.budget import TERA, Budget, StudentsRecipe
from samplers.training.data import ImageSet
from samplers.training.held_out import HeldOut
from samplers.training.optimisation import Optimisation, step_generator
from samplers.training.precision import reproducible_float32
from samplers.training.recipe import StudentRecipe, merged, read_recipe
from samplers.training.search import search
from samplers.training.trainer import Training

S = TypeVar("S", bound=StudentRecipe)


class StudentTraining(Training[S]):
    """A training by a section with a teacher and held-out noises.

    It computes in the float32 that measurements use: a GPU scores the student while it trains as it is scored afterwards.
    Where its section has no `steps`, the recipe's section `students` pays for them: `run` calls `allot` before it needs them.

    Attributes:
        share: of that work; less than 1 for a variant of a search, which pays for nothing but its updates.
        found: what a search found that was done for it, for the card.
    """

    Recipe: ClassVar[type[StudentRecipe]]
    replaced: ClassVar[tuple[str, ...]] = ()
    """Sections of its own that a variant replaces as a whole."""
    share = 1.0
    found: Mapping[str, Any] | None = None
    cost: Mapping[str, float] = {}

    def __init__(
        self, recipe: Document, data: Path | None, out: Path, *, device: torch.device | str = "cpu", quiet: bool = False
    ):
        reproducible_float32()
        super().__init__(recipe, data, out, device=device, quiet=quiet)
        self.asked = replace(self.asked, values={k: v for k, v in self.asked.values.items() if k != "search"})
        self.world.share(self.r.optimisation.part, self.where)
        self.teacher = load_unet_teacher(self.r.teacher, device=self.device)
        self.paid = None if has_steps(self.section_of(recipe)) else StudentsRecipe.of(recipe.section("students"))

    @classmethod
    def asked_of(cls, recipe: Document) -> Document:
        """As `Trainer.asked_of`, with one update where the budget will tell how many."""
        asked = cls.section_of(recipe)
        return asked if "students" not in recipe.values or has_steps(asked) else with_steps(asked, 1)

    @classmethod
    def check(cls, recipe: Document) -> None:
        super().check(recipe)
        if "students" in recipe.values:
            StudentsRecipe.of(recipe.section("students"))
        section = cls.section_of(recipe)
        if (variants := cls.variants(recipe)) and (has_steps(section) or "students" not in recipe.values):
            told = "its variants share the work of the section students: leave out `steps`, and write that section"
            raise UserError(f"{section.place(('search',))}: search: {told}")
        for variant in variants:
            cls.Recipe.of(cls.asked_of(variant))

    @classmethod
    def variants(cls, recipe: Document) -> list[Document]:
        """The recipe of each variant of its search."""
        section, found = cls.section_of(recipe), []
        for k, changes in enumerate(section.values.get("search") or ()):
            keys = (*section.section_keys, "search", k)
            whole = merged(section, Document(changes, section.origin, section.lines, keys), cls.replaced)
            lines = {(cls.section, *at[len(keys) :]): n for at, n in whole.lines.items() if at[: len(keys)] == keys}
            values = {**recipe.values, cls.section: {**whole.values, "search": []}}
            found.append(replace(recipe, values=values, lines={**recipe.lines, **lines}))
        return found

    @classmethod
    def train(
        cls, recipe: str | Path, data: Path | None, out: Path, *, device: torch.device | str = "cpu", quiet: bool = False
    ) -> Path:
        document, found = read_recipe(recipe), None
        cls.check(document)
        if variants := cls.variants(document):
            found = search(cls, document, data, out, device=device, quiet=quiet)
            document = variants[found["chosen"]]
        training = cls(document, data, out, device=device, quiet=quiet)
        training.found = found
        return training.run()

    def allot(self, network: nn.Module, made: float = 0.0) -> None:
        """Set the updates of the optimisation to what the recipe's work pays for, unless it has `steps` of its own.

        Args:
            network: that `loss` is asked with; all that it needs stands.
            made: FLOPs that making what it learns from took.
        """
        if self.paid is not None:
            budget, work = self.budget(made), self.work_of_update(network, self.r.optimisation)
            steps = budget.updates(work, self.where)
            self.asked = with_steps(self.asked, steps)
            self.r = self.Recipe.of(self.asked)  # type: ignore[assignment]
            self.cost = budget.told(steps * work)

    def budget(self, made: float = 0.0) -> Budget:
        """What it may spend, `made` FLOPs of it gone already."""
        assert self.paid is not None
        return Budget(self.share * self.paid.tflop * TERA, made if self.share == 1 else 0.0)

    def work_of_update(self, network: nn.Module, optimisation: Optimisation) -> float:
        """FLOPs of an update, counted of `loss` and its gradient; the same on every device, and however many there are.

        Attention is counted in its plain form: other kernels compute some products twice, and each device has its own.
        """
        network.train()
        with sdpa_kernel(SDPBackend.MATH), counting() as counter:
            self.loss(network, step_generator(optimisation.seed, 0), 0).backward()
        network.zero_grad(set_to_none=True)
        return float(counter.get_total_flops() * optimisation.accumulate * self.world.size)

    def work_of_teacher(self) -> float:
        """FLOPs of the teacher's evaluation of an image."""
        x = torch.zeros(1, *self.teacher.shape, device=self.device)
        labels = torch.zeros(1, dtype=torch.int64, device=self.device) if self.teacher.num_classes else None
        return float(flops(self.teacher, x, self.teacher.sigma_max, labels))

    def told(self) -> dict[str, Any]:
        return {"search": {k: v for k, v in self.found.items() if k != "asked"}} if self.found else {}

    def result(self, written: Path) -> tuple[float, float]:
        """Of what `run` wrote: its relative error in one call, and the TFLOPs that it took."""
        card = json.loads(written.read_text())
        return card["training"]["validation"]["error@0"], card["cost"]["tflop"]

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


def has_steps(section: Document) -> bool:
    """Whether a student's section says itself how many updates it has."""
    optimisation = section.values.get("optimisation")
    return not isinstance(optimisation, Mapping) or "steps" in optimisation


def with_steps(section: Document, steps: int) -> Document:
    """A student's section with so many updates."""
    return merged(section, Document({"optimisation": {"steps": steps}}, section.origin, {}, section.section_keys))
