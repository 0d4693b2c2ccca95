"""`bench train progressive`: the ladder of progressive distillation, each student the teacher of the next."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from samplers.distilled.loading import KIND, load_student
from samplers.distilled.losses import METRICS
from samplers.distilled.progressive import WEIGHTS, ladder, levels, two_step_target
from samplers.documents import Document
from samplers.errors import UserError
from samplers.files import write_json
from samplers.models.unet_teacher import UNetTeacher
from samplers.models.zoo import ZooEntry, find_card
from samplers.settings import Settings
from samplers.solvers.euler import DDIM
from samplers.training.held_out import HeldOut, relative_rmse
from samplers.training.loop import Trained
from samplers.training.optimisation import Optimisation
from samplers.training.precision import autocast, quicken
from samplers.training.recipe import DataSettings, Share, StudentRecipe, merged, one_of
from samplers.training.student import StudentTraining, as_teacher, card_of


class RungRecipe(StudentRecipe):
    """What makes the training of one rung: the section `progressive` without the ladder's end and the other rungs."""

    start: int = Field(ge=2, le=2**20, description="DDIM steps of the teacher, a power of two")
    weights: Annotated[str, one_of("weights", WEIGHTS)] = Field(
        description="of a noise level: `truncated_snr`, max(SNR, 1), or `snr_plus_1`"
    )
    metric: Annotated[str, one_of("metric", METRICS)] = Field(
        description="of the weighted difference: `pseudo_huber`, or `l2` as the paper has it"
    )
    label_dropout: Share = Field(description="share of images without their class")


class ProgressiveRecipe(RungRecipe):
    """The section `progressive` of a recipe."""

    end: int = Field(ge=1, description="DDIM steps of the last student")
    rungs: dict[int, dict[str, Any]] = Field(description="what differs in the optimisation of one, by its steps")

    @model_validator(mode="after")
    def _rungs_are_there(self) -> Self:
        try:
            steps = ladder(self.start, self.end)
        except UserError as e:
            raise ValueError(f"end: {e}") from e
        if extra := sorted(set(self.rungs) - set(steps)):
            raise ValueError(f"rungs: {extra[0]} is no rung; they are {', '.join(map(str, steps))}")
        return self


@dataclass
class Rung:
    """A student being trained.

    Attributes:
        steps: N, its DDIM steps.
        optimisation: its own.
        teacher: of 2 N steps.
        student: as a denoiser.
        top, own: images of the held-out noises by the ladder's own teacher and by this one.
        cost: of the rungs before.
    """

    steps: int
    optimisation: Optimisation
    teacher: UNetTeacher
    student: UNetTeacher
    top: Tensor
    own: Tensor
    cost: Mapping[str, int]


class Ladder(StudentTraining[ProgressiveRecipe]):
    """The students of a recipe, from its teacher down, each half the steps of the one before. Checks all before it trains.

    `run` returns the path of `ladder.json`, beside the cards and weights of the rungs and a folder for each one's checkpoint.

    Raises:
        UserError: besides what every training raises: a rung missing in the middle, another training's cards.
    """

    section, Recipe = "progressive", ProgressiveRecipe
    rung: Rung

    def __init__(
        self, recipe: Document, data: Path | None, out: Path, *, device: torch.device | str = "cpu", quiet: bool = False
    ):
        super().__init__(recipe, data, out, device=device, quiet=quiet)
        self.steps = ladder(self.r.start, self.r.end)
        self.plans = self._plans(self.asked, self.r)
        for n, o in self.plans.items():
            self.world.share(o.part, f"{self.where}: rungs: {n}")
        self.data = self.images("train")
        self.scored = self.noises()
        self.made = {n: find_card(KIND, self._card(n)) if self._card(n).exists() else None for n in self.steps}
        self._refuse_gap()
        self.world.wait()  # nobody writes before all have read

    @classmethod
    def kinds(cls) -> dict[str, type[Settings]]:
        return {"data": DataSettings, cls.section: RungRecipe}

    @classmethod
    def check(cls, recipe: Document) -> None:
        super().check(recipe)
        asked = cls.section_of(recipe)
        cls._plans(asked, ProgressiveRecipe.of(asked))

    @staticmethod
    def _plans(asked: Document, r: ProgressiveRecipe) -> dict[int, Optimisation]:
        """Each rung's own optimisation."""
        base, changes = asked.section("optimisation"), asked.section("rungs")
        own = {n: merged(base, changes.section(n)) if n in r.rungs else base for n in ladder(r.start, r.end)}
        return {n: Optimisation.of(document) for n, document in own.items()}

    def _card(self, steps: int) -> Path:
        return self.out / f"{self.r.name}-{steps}.json"

    def _refuse_gap(self) -> None:
        """A student whose teacher is not there cannot be trusted to be of this ladder."""
        done = [n for n in self.steps if self.made[n] is not None]
        lacking = [n for n in self.steps if self.made[n] is None and any(d < n for d in done)]
        if lacking:
            below = max(d for d in done if d < lacking[0])
            raise UserError(
                f"{self.out}: the ladder lacks the student of {lacking[0]} steps, though that of {below} is there; put "
                f"{self._card(lacking[0]).name} and its weights back, or remove the cards below it to train them again"
            )

    def run(self) -> Path:
        """Train what is not done yet (algorithm 2, the outer loop)."""
        kept = {k: v for k, v in self.asked.values.items() if k not in ("end", "rungs")}  # a ladder may be made longer
        parent, rows = self.teacher_told(), []  # type: dict[str, Any], list[dict[str, Any]]
        above: ZooEntry | None = None
        top: Tensor | None = None
        for steps in self.steps:
            own = {**kept, "optimisation": self.plans[steps].identity()}
            identity = {
                "recipe": self.recipe_told(own),
                "parent": {**parent, "steps": 2 * steps},
                "data_sha256": self.data.sha256,
            }
            entry = self.made[steps]
            if entry is None:
                top = _decoded(self.teacher, self.scored, self.r.start) if top is None else top
                cost = rows[-1]["cost"] if rows else dict.fromkeys(("student_forwards", "teacher_forwards", "seconds"), 0)
                self._climb(steps, self.teacher if above is None else load_student(above, self.device), top, identity, cost)
                entry = find_card(KIND, self._card(steps))
            elif not all(self.same(k, entry.card.get(k), json.loads(json.dumps(v))) for k, v in identity.items()):
                raise UserError(f"{entry.path} is of another training; choose another --out or remove it")
            rows.append(_row(entry.card))
            if self.world.rank == 0:
                told = {"teacher": rows[0]["parent"], "rungs": rows}
                write_json(self.out / "ladder.json", told)
            parent, above = {k: entry.card[k] for k in parent}, entry
        return self.out / "ladder.json"

    def _climb(self, steps: int, teacher: UNetTeacher, top: Tensor, identity: dict[str, Any], cost: Mapping[str, int]) -> None:
        """Train the student of N = `steps` DDIM steps from its teacher of 2 N (algorithm 2, the inner loop) and write it."""
        o, own = self.plans[steps], _decoded(teacher, self.scored, 2 * steps)
        student = as_teacher(self.teacher, teacher.network.state_dict())
        quicken([teacher.network], o, self.device)
        self.rung = Rung(steps, o, teacher, student, top, own, cost)
        marks = {"method": self.section, "steps": steps}
        self.finish(student.network, self._card(steps).stem, o, identity, folder=self.out / f"{steps}", marks=marks)

    def loss(self, network: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        r, rung, part = self.r, self.rung, self.rung.optimisation.part
        x0, classes = self.draw(self.data, part, r.label_dropout, generator)
        labels = classes if self.teacher.num_classes else None
        i = torch.randint(1, rung.steps + 1, (part,), generator=generator)
        found = levels(self.teacher.schedule, i, rung.steps)
        s, m, u = (v[self.mine].to(self.device, non_blocking=True) for v in found)
        eps = self.noise_for(x0, part, generator)
        x = x0 + s.float()[:, None, None, None] * eps
        with autocast(self.device):
            with torch.no_grad():
                target = two_step_target(rung.teacher, x, s, m, u, labels)
            predicted = rung.student(x, s.float(), labels)
        scale = WEIGHTS[r.weights](s.float()).sqrt()[:, None, None, None]
        return METRICS[r.metric](scale * predicted.float(), scale * target.float()).mean()

    def validate(self, network: nn.Module) -> dict[str, float]:
        found = _decoded(self.rung.student, self.scored, self.rung.steps)
        return {"error@0": relative_rmse(found, self.rung.top), "step_error": relative_rmse(found, self.rung.own)}

    def card(self, trained: Trained) -> dict[str, Any]:
        before = self.rung.cost
        cost = {  # of the whole ladder down to this rung
            "student_forwards": before["student_forwards"] + trained.images,
            "teacher_forwards": before["teacher_forwards"] + 2 * trained.images,
            "seconds": before["seconds"] + round(trained.seconds),
        }
        return {**card_of(self.teacher, self.r.label_dropout), "cost": cost}


def _decoded(model: UNetTeacher, noises: HeldOut, steps: int) -> Tensor:
    """Images of the held-out noises by `steps` DDIM steps of a model."""
    model.eval()
    return noises.images(lambda z, labels: DDIM().sample(model, z, steps=steps, labels=labels))


def _row(card: Mapping[str, Any]) -> dict[str, Any]:
    """What ladder.json says of a rung."""
    t = card["training"]
    return {
        "name": card["name"],
        "steps": card["steps"],
        "sha256": card["sha256"],
        "parent": card["parent"],
        **{k: t[k] for k in ("seconds", "images", "device")},
        **t["validation"],
        "cost": card["cost"],
    }
