"""`bench train consistency` and `bench train consistency_training`: consistency models, distilled or from data."""

from abc import abstractmethod
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from samplers.distilled.consistency import ODE_STEPS, ConsistencyFunction, intervals_at, nodes
from samplers.distilled.losses import METRICS
from samplers.registry import get
from samplers.schedule import GRIDS
from samplers.training.held_out import relative_rmse
from samplers.training.loop import Target, Trained
from samplers.training.precision import autocast, quicken
from samplers.training.recipe import Share, StudentRecipe, one_of
from samplers.training.student import StudentTraining, as_teacher, card_of

REFERENCE = ("ipndm", 24)  # solver and steps of the images that held-out ones are compared with


class ConsistencyTrainingRecipe(StudentRecipe):
    """The section `consistency_training` of a recipe."""

    grid: Annotated[str, one_of("grid", GRIDS)] = Field(description="of the noise levels that are neighbours")
    intervals: tuple[Annotated[int, Field(ge=2, le=10**5)], ...] = Field(
        description="between noise levels: two numbers, the first is doubled on the way to the last"
    )
    metric: Annotated[str, one_of("metric", METRICS)] = Field(description="distance of neighbours: `pseudo_huber` or `l2`")
    target_ema: Share = Field(description="decay of the target network per update")
    label_dropout: Share = Field(description="share of images without their class")

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if len(self.intervals) != 2:
            raise ValueError("intervals are two numbers, the first and the last of the curriculum")
        first, last = self.intervals
        if first > last:
            raise ValueError(f"intervals must not fall, got {first} and then {last}")
        return self


class ConsistencyRecipe(ConsistencyTrainingRecipe):
    """The section `consistency` of a recipe."""

    ode_step: Annotated[str, one_of("ode_step", ODE_STEPS)] = Field(
        description="of the teacher from one level to the next: `ddim` or `heun`"
    )


R = TypeVar("R", bound=ConsistencyTrainingRecipe)


class Neighbours(StudentTraining[R]):
    """What both kinds share: f at a noise level learns what its slow average says at the next lower one."""

    def run(self) -> Path:
        teacher = self.teacher
        self.data = self.images("train")
        self.scored = self.noises()
        self.true = self.scored.images(
            lambda z, labels: get(REFERENCE[0]).sample(teacher, z, steps=REFERENCE[1], labels=labels)
        )
        student = as_teacher(teacher, teacher.network.state_dict())
        behind = as_teacher(teacher, teacher.network.state_dict()).requires_grad_(False)
        self.f, self.f_target = ConsistencyFunction(student), ConsistencyFunction(behind)
        self.nodes = cache(lambda intervals: nodes(teacher.schedule, intervals, self.r.grid))
        self.allot(student.network)
        r, o = self.r, self.r.optimisation
        quicken([teacher.network, behind.network], o, self.device)
        identity = {
            "recipe": self.recipe_told(),
            "teacher": self.teacher_told(),
            "data_sha256": self.data.sha256,
        }
        target, marks = Target(behind.network, r.target_ema), {"method": self.section}
        return self.finish(student.network, r.name, o, identity, target=target, marks=marks)

    @abstractmethod
    def next_level(self, x_s: Tensor, x0: Tensor, eps: Tensor, s: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        """The state at levels t [B] on the path through x_s = x0 + s eps at levels s [B]."""

    def teacher_forwards(self) -> int:
        """The teacher's in an update, per image."""
        return 0

    def loss(self, network: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        r, o = self.r, self.r.optimisation
        sigma = self.nodes(intervals_at(step, o.steps, *r.intervals))
        x0, classes = self.draw(self.data, o.part, r.label_dropout, generator)
        labels = classes if self.teacher.num_classes else None
        n = torch.randint(len(sigma) - 1, (o.part,), generator=generator)[self.mine]
        s, t = (sigma[k].float().to(self.device, non_blocking=True) for k in (n + 1, n))  # neighbours s > t
        eps = self.noise_for(x0, o.part, generator)
        x_s = x0 + s[:, None, None, None] * eps
        with autocast(self.device):
            with torch.no_grad():
                target = self.f_target(self.next_level(x_s, x0, eps, s, t, labels), t, labels)
            return METRICS[r.metric](self.f(x_s, s, labels).float(), target.float()).mean()

    def validate(self, network: nn.Module) -> dict[str, float]:
        high = self.teacher.sigma_max

        def one_call(z: Tensor, labels: Tensor | None) -> Tensor:
            return self.f(high * z, torch.full((len(z),), high, device=self.device), labels)

        return {"error@0": relative_rmse(self.scored.images(one_call), self.true)}

    def card(self, trained: Trained) -> dict[str, Any]:
        cost = {  # the target's evaluation is a student forward too
            "student_forwards": 2 * trained.images,
            "teacher_forwards": self.teacher_forwards() * trained.images,
            "seconds": round(trained.seconds),
            **self.cost,
        }
        return {**card_of(self.teacher, self.r.label_dropout), "cost": cost}


class ConsistencyDistillation(Neighbours[ConsistencyRecipe]):
    """Consistency distillation (arXiv 2303.01469, algorithm 2): a step of the teacher leads from one level to the next."""

    section, Recipe = "consistency", ConsistencyRecipe

    def next_level(self, x_s: Tensor, x0: Tensor, eps: Tensor, s: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        return ODE_STEPS[self.r.ode_step][0](self.teacher, x_s, s, t, labels)

    def teacher_forwards(self) -> int:
        return ODE_STEPS[self.r.ode_step][1]


class ConsistencyTraining(Neighbours[ConsistencyTrainingRecipe]):
    """Without the teacher's steps (algorithm 3), from its weights: easy consistency tuning (arXiv 2406.14548)."""

    section, Recipe = "consistency_training", ConsistencyTrainingRecipe

    def next_level(self, x_s: Tensor, x0: Tensor, eps: Tensor, s: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        return x0 + t[:, None, None, None] * eps
