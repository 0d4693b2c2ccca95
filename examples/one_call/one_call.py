"""Noise to image in one call, learned from the ends of a solver's paths (arXiv 2101.02388). Put your own loss in `loss`."""

from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

import samplers
from samplers import Card, Denoiser
from samplers.distilled.sampling import DistilledSampler
from samplers.training import StudentRecipe, StudentTraining, Trained, as_teacher, card_of, normal, relative_rmse


class OneCall(DistilledSampler):
    """One call of the student, which is the teacher's network with other weights."""

    card = Card(
        name="one_call",
        family="one_call",
        paper="Luhman & Luhman 2021, arXiv 2101.02388",
        order=None,
        training=True,
        steps=(1,),
        note="trained: noise to image in one call",
    )
    folder = Path(__file__).parent

    def sample(
        self, denoiser: Denoiser, noise: Tensor, *, steps: int, labels: Tensor | None = None, callback: Any = None
    ) -> Tensor:
        """Images of noise, both [B, C, H, W]."""
        self.ready(denoiser, noise, steps, labels)
        image = self.own(self.own.sigma_max * noise, self.own.sigma_max, labels)
        if callback is not None:
            callback(0, 0.0, image, image)
        return image


class OneCallRecipe(StudentRecipe):
    """The section `one_call` of a recipe."""

    solver: str = Field("dpmpp_2m", description="whose images are learned")
    solver_steps: int = Field(10, ge=1, description="its steps")


class OneCallTraining(StudentTraining[OneCallRecipe]):
    """`bench train one_call`: the student's one call learns what the solver's steps make of the same noise."""

    section, Recipe = "one_call", OneCallRecipe

    @classmethod
    def kinds(cls) -> dict[str, Any]:
        """Sections of the recipe that make this training this one; no data."""
        return {cls.section: cls.Recipe}

    def run(self) -> Path:
        """Train; returns the card's path."""
        self.student = as_teacher(self.teacher, self.teacher.network.state_dict())
        self.scored = self.noises()
        self.true = self.scored.images(self.solved)
        self.allot(self.student.network)
        identity = {"recipe": {self.section: dict(self.asked.values)}, "teacher": self.teacher_told()}
        marks = {"method": self.section, "steps": 1}
        return self.finish(self.student.network, self.r.name, self.r.optimisation, identity, marks=marks)

    @torch.no_grad()
    def solved(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """What the teacher's solver makes of noise."""
        return samplers.get(self.r.solver).sample(self.teacher, z, steps=self.r.solver_steps, labels=labels)

    def one_call(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """What the student makes of it."""
        high = self.teacher.sigma_max
        return self.student(high * z, high, labels)

    def loss(self, network: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        """Of this process's share of a batch, all randomness from `generator`."""
        count, classes = self.r.optimisation.part, self.teacher.num_classes
        z = normal((count, *self.teacher.shape), generator, self.device)[self.mine]
        labels = torch.randint(classes, (count,), generator=generator)[self.mine].to(self.device) if classes else None
        return (self.one_call(z, labels) - self.solved(z, labels)).square().mean()

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Scores of the averaged weights."""
        return {"error@0": relative_rmse(self.scored.images(self.one_call), self.true)}

    def card(self, trained: Trained) -> dict[str, Any]:
        """What the card says; of the cost too, for the break-even."""
        calls = samplers.get(self.r.solver).card.calls(self.r.solver_steps)
        cost = {
            "student_forwards": trained.images,
            "teacher_forwards": calls * trained.images,
            "seconds": round(trained.seconds),
            **self.cost,
        }
        return {**card_of(self.teacher, 0.0), "cost": cost}
