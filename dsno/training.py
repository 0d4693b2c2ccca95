"""`bench train dsno` and `bench train knowledge_distillation`: fit the network to trajectories of the teacher.

The loss is that of arXiv 2211.13449, section 4.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from dsno.held_out import HeldOutPaths
from dsno.losses import TERMS, path_loss, terms
from dsno.network import DSNOConfig, from_teacher, logsnr_at
from dsno.times import loss_weights
from dsno.trajectories import Trajectories
from dsno.trajectory_making import seconds_taken
from samplers.documents import Document
from samplers.models.unet import parameter_count
from samplers.settings import Settings
from samplers.solvers.paths import TARGETS
from samplers.training.loop import Trained
from samplers.training.precision import autocast
from samplers.training.recipe import Share, StudentRecipe, merged, one_of
from samplers.training.student import StudentTraining

REPLACED = ("loss",)


class DSNORecipe(StudentRecipe):
    """The section `dsno` of a recipe."""

    network: DSNOConfig = Field(description="time points, their grid, Fourier modes")
    target: Annotated[str, one_of("target", TARGETS)] = Field(
        description="what the trajectories are of: `x0`, the teacher's prediction along the path, or `state`, the noisy state"
    )
    weights: Literal["snr", "flat"] = Field(description="of the time points: `snr` is clip(alpha / sigma, 1, 1e4)")
    loss: dict[Annotated[str, one_of("loss", TERMS)], Annotated[float, Field(ge=0)]] = Field(
        min_length=1, description="a factor for each term: `l1`, `l2`, `perceptual`"
    )
    features: str = Field(
        min_length=1, description="of a perceptual term: `teacher`, or the path of VGG-16's weights (.safetensors)"
    )
    trajectories: int | None = Field(ge=1, description="how many to use; null for all")
    dropout: Share = Field(0.0, description="in the residual blocks while it trains")


class DSNOTraining(StudentTraining[DSNORecipe]):
    """DSNO by the section `dsno`, from a folder of trajectories.

    By default they are in RECIPE-trajectories beside `out`, where 'bench train trajectories' puts them.
    """

    section, Recipe = "dsno", DSNORecipe
    replaced = REPLACED

    @classmethod
    def usual_data(cls, recipe: Document, out: Path) -> Path:
        return out.parent / f"{Path(recipe.origin).stem}-trajectories"

    @classmethod
    def kinds(cls) -> dict[str, type[Settings]]:
        return {"dsno": DSNORecipe}

    def run(self) -> Path:
        r, teacher, device = self.r, self.teacher, self.device
        torch.manual_seed(r.optimisation.seed)
        self.network = from_teacher(teacher, r.network, dropout=r.dropout)
        times = self.times = r.network.times()
        self.paths = Trajectories(self.folder, teacher.sha256, times, r.target, r.trajectories)
        self.held_out = HeldOutPaths.make(self.paths, teacher, r.held_out, times, self.world, self.out)
        self.seen = HeldOutPaths.first(self.paths, len(self.held_out.labels))
        if device.type == "cuda":
            self.paths.near(device)
        self.weights = torch.tensor(loss_weights(teacher.schedule, times, r.weights), device=device)
        self.terms = terms(r.loss, teacher, r.features)
        self.logsnr = logsnr_at(teacher.schedule, times, device)
        m = self.paths.manifest
        self.allot(self.network, len(self.paths) * m["calls"] * self.work_of_teacher())
        made_from = {k: m[k] for k in ("teacher", "solver", "steps", "target", "seed", "labels")}
        # Not the manifest's hash: another machine makes the same trajectories with other last bits, and goes on from a
        # checkpoint.
        identity = {
            "recipe": {"dsno": dict(self.asked.values)},
            "trajectories": {**made_from, "used": len(self.paths)},
        }
        marks = {"operator": r.network.values()}
        return self.finish(self.network, r.name, self.r.optimisation, identity, marks=marks)

    def loss(self, network: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        chosen = torch.randint(len(self.paths), (self.r.optimisation.part,), generator=generator)[self.mine].tolist()
        frames, labels = (t.to(self.device) for t in self.paths.frames(chosen))
        z = self.paths.noise(chosen).to(self.device).contiguous(memory_format=torch.channels_last)
        with autocast(self.device):
            predicted = network(z, self.logsnr.expand(len(z), -1), labels)
        return path_loss(predicted.float(), frames, self.weights, self.terms)

    def validate(self, network: nn.Module) -> dict[str, float]:
        errors = self.held_out.error(network, self.logsnr)
        scores = {f"error@{t:g}": e for t, e in zip(self.times, errors, strict=True)}
        return scores | {"seen_error": self.seen.error(network, self.logsnr)[-1]}

    def told(self) -> dict[str, Any]:
        return super().told() | {"data_sha256": self.paths.sha256}

    def card(self, trained: Trained) -> dict[str, Any]:
        m = self.paths.manifest
        made_in = seconds_taken(self.folder, [s["file"] for s in m["shards"]])
        seconds = None if made_in is None else round(trained.seconds + made_in * len(self.paths) / m["count"])
        return {
            "kind": "dsno",
            "teacher": m["teacher"],
            "network": self.network.config.values(),
            "sigma_min": self.teacher.sigma_min,
            "sigma_max": self.teacher.sigma_max,
            "target": self.r.target,
            "labels": m["labels"],
            "noise_seeds": [self.paths.seed],
            "parameters": parameter_count(self.network),
            "cost": {
                "student_forwards": trained.images * self.r.network.points,
                "teacher_forwards": len(self.paths) * m["calls"],
                **({} if seconds is None else {"seconds": seconds}),
                **self.cost,
            },
        }


class KnowledgeDistillation(DSNOTraining):
    """The control: M = 1 and no temporal layers, which is knowledge distillation (arXiv 2101.02388).

    The recipe's section `knowledge_distillation` has what differs from its section `dsno`.
    """

    section = "knowledge_distillation"

    @classmethod
    def section_of(cls, recipe: Document) -> Document:
        base = recipe.section("dsno")
        one_point = Document({"network": {"points": 1, "modes": 0}}, recipe.origin, {}, base.section_keys)
        return put_over(put_over(base, one_point), recipe.section(cls.section))


class DSNOAgain(DSNOTraining):
    """DSNO once more, by what its section changes in `dsno`: with another seed it tells what chance does."""

    section = "dsno_again"

    @classmethod
    def section_of(cls, recipe: Document) -> Document:
        return put_over(recipe.section("dsno"), recipe.section(cls.section))


class KnowledgeDistillationAgain(KnowledgeDistillation):
    """Knowledge distillation once more, likewise."""

    section = "knowledge_distillation_again"

    @classmethod
    def section_of(cls, recipe: Document) -> Document:
        return put_over(KnowledgeDistillation.section_of(recipe), recipe.section(cls.section))


def put_over(base: Document, changes: Document) -> Document:
    """A section `dsno` with changes over it; the terms of a loss are replaced as a whole."""
    return merged(base, changes, replaced=REPLACED)
