"""`bench train progressive`: the ladder of progressive distillation, each student the teacher of the next."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samplers.distilled.loading import KIND, load_student
from samplers.distilled.losses import METRICS
from samplers.distilled.progressive import WEIGHTS, ladder, levels, two_step_target
from samplers.distilled.progressive_recipe import ProgressiveRecipe, RungRecipe, plans_of
from samplers.documents import Document
from samplers.errors import UserError
from samplers.files import write_json
from samplers.models.unet_teacher import UNetTeacher
from samplers.models.zoo import ZooEntry, find_card
from samplers.settings import Settings
from samplers.solvers.euler import DDIM
from samplers.training.budget import TERA
from samplers.training.held_out import HeldOut, relative_rmse
from samplers.training.loop import Trained
from samplers.training.optimisation import Optimisation
from samplers.training.precision import autocast, quicken
from samplers.training.recipe import DataSettings
from samplers.training.student import StudentTraining, as_teacher, card_of, has_steps


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
    cost: Mapping[str, float]


class Ladder(StudentTraining[ProgressiveRecipe]):
    """The students of a recipe, from its teacher down, each half the steps of the one before. Checks all before it trains.

    `run` returns the path of `ladder.json`, beside the cards and weights of the rungs and a folder for each one's checkpoint.

    Raises:
        UserError: besides what every training raises: a rung missing in the middle, another training's cards.
    """

    section, Recipe = "progressive", ProgressiveRecipe
    rung: Rung
    work: dict[int, float]

    def __init__(
        self, recipe: Document, data: Path | None, out: Path, *, device: torch.device | str = "cpu", quiet: bool = False
    ):
        super().__init__(recipe, data, out, device=device, quiet=quiet)
        self.steps = ladder(self.r.start, self.r.end)
        self.plans = plans_of(self.asked, self.r)
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
        asked = cls.asked_of(recipe)
        r = ProgressiveRecipe.of(asked)
        plans_of(asked, r)
        for n, changes in r.rungs.items():
            if "steps" in changes and not has_steps(cls.section_of(recipe)):
                told = "the work of the section students is divided by `growth`; leave it out"
                raise UserError(f"{asked.place(('rungs', n, 'steps'))}: rungs: {n}: steps: {told}")

    def _divided(self) -> dict[int, float]:
        """FLOPs of each rung where the recipe's work is divided among them, whose updates are then set by it."""
        if self.paid is None:
            return {}
        student, none = as_teacher(self.teacher, self.teacher.network.state_dict()), torch.empty(0)
        shares = {n: self.r.growth**k for k, n in enumerate(self.steps)}
        work = {}
        for n, o in self.plans.items():
            self.rung = Rung(n, o, self.teacher, student, none, none, {})
            each = self.work_of_update(student.network, o)
            updates = self.budget().updates(each, f"{self.where}: rungs: {n}", shares[n] / sum(shares.values()))
            self.plans[n], work[n] = o.model_copy(update={"steps": updates}), updates * each
        return work

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
        self.work = self._divided()
        kept = {
            k: v for k, v in self.asked.values.items() if k not in ("end", "rungs", "growth")
        }  # a ladder may be made longer
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

    def _climb(
        self, steps: int, teacher: UNetTeacher, top: Tensor, identity: dict[str, Any], cost: Mapping[str, float]
    ) -> None:
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
        cost: dict[str, float] = {  # of the whole ladder down to this rung
            "student_forwards": before["student_forwards"] + trained.images,
            "teacher_forwards": before["teacher_forwards"] + 2 * trained.images,
            "seconds": before["seconds"] + round(trained.seconds),
        }
        if self.paid is not None:
            cost |= self.budget().told(before.get("tflop", 0.0) * TERA + self.work[self.rung.steps])
        return {**card_of(self.teacher, self.r.label_dropout), "cost": cost}

    def result(self, written: Path) -> tuple[float, float]:
        last = json.loads(written.read_text())["rungs"][-1]
        return last["error@0"], last["cost"]["tflop"]


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
