"""`bench train progressive`: the ladder of progressive distillation, each student the teacher of the next."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samplers.distilled.loading import KIND, as_teacher, card_of, check_choice, check_images, load_student
from samplers.distilled.losses import METRICS
from samplers.distilled.progressive import WEIGHTS, ladder, levels, two_step_target
from samplers.errors import UserError, unknown
from samplers.files import write_whole
from samplers.models.unet_teacher import UNetTeacher, load_unet_teacher
from samplers.models.zoo import ZooEntry, find_card
from samplers.solvers.euler import DDIM
from samplers.training.cards import write_zoo
from samplers.training.held_out import HeldOut, relative_rmse
from samplers.training.log import read_log
from samplers.training.loop import fit
from samplers.training.optimisation import normal
from samplers.training.precision import autocast, quicken, reproducible_float32, use_all_cores
from samplers.training.recipe import DATA, check_share, check_value, load_recipe, load_split, optimisation
from samplers.world import World

KEYS = ("name", "teacher", "start", "end", "weights", "metric", "label_dropout", "held_out", "optimisation", "rungs")
METHOD = "progressive"


def train(recipe: str | Path, data: Path | None, out: Path, *, device: torch.device | str = "cpu", quiet: bool = False) -> Path:
    """Train (or resume) the whole ladder of a recipe; returns the path of `ladder.json`, a card and weights a rung beside it.

    Args:
        recipe: a shipped recipe's name or a YAML file with sections `data` and `progressive`.
        data: folder of the recipe's data files; by default data/.
        out: folder for the cards and weights, and a folder for each rung's checkpoint and log.

    Raises:
        UserError: bad recipe or data, another training's folder, a rung missing in the middle, NaN in the loss.
    """
    use_all_cores()
    reproducible_float32()
    return Ladder(recipe, data or Path("data"), out, device, quiet).train()


class Ladder:
    """The students of a recipe, from its teacher down, each half the steps of the one before. Checks all before it trains."""

    def __init__(self, recipe: str | Path, data: Path, out: Path, device: torch.device | str, quiet: bool):
        self.content = load_recipe(recipe, {"data": DATA, METHOD: KEYS})
        self.r, where = self.content[METHOD], f"{recipe}: {METHOD}"
        _check(self.r, where)
        self.world = World.join(device)
        self.device, self.out, self.quiet = self.world.device, out, quiet
        self.rungs = ladder(self.r["start"], self.r["end"])
        if extra := sorted(set(self.r["rungs"]) - set(self.rungs), key=str):
            raise UserError(f"{where}: rungs: {extra[0]} is no rung; they are {', '.join(map(str, self.rungs))}")
        base = self.r["optimisation"]
        self.world.share(optimisation(base, where).part, where)
        own = {n: self.r["rungs"].get(n, {}) for n in self.rungs}
        self.plans = {n: optimisation({**base, **changes}, f"{where}: rungs: {n}") for n, changes in own.items()}
        for n, o in self.plans.items():
            self.world.share(o.part, f"{where}: rungs: {n}")
        self.images = load_split(self.content["data"], "train", data).near(self.device)
        self.root = load_unet_teacher(self.r["teacher"], device=self.device)
        check_images(self.images, self.root, where)
        self.noises = HeldOut(self.root, self.r["held_out"], self.device, where)
        self.made = {n: find_card(KIND, self._card(n)) if self._card(n).exists() else None for n in self.rungs}
        self._refuse_gap()
        self.world.wait()  # nobody writes before all have read

    def _card(self, steps: int) -> Path:
        return self.out / f"{self.r['name']}-{steps}.json"

    def _refuse_gap(self) -> None:
        """A student whose teacher is not there cannot be trusted to be of this ladder."""
        done = [n for n in self.rungs if self.made[n] is not None]
        lacking = [n for n in self.rungs if self.made[n] is None and any(d < n for d in done)]
        if lacking:
            below = max(d for d in done if d < lacking[0])
            raise UserError(
                f"{self.out}: the ladder lacks the student of {lacking[0]} steps, though that of {below} is there; put "
                f"{self._card(lacking[0]).name} and its weights back, or remove the cards below it to train them again"
            )

    def train(self) -> Path:
        """Train what is not done yet (algorithm 2, the outer loop); returns the path of ladder.json."""
        kept = {k: v for k, v in self.r.items() if k not in ("end", "rungs")}  # a ladder may be made longer
        parent, rows = {"name": self.root.name, "sha256": self.root.sha256}, []  # type: dict[str, Any], list[dict[str, Any]]
        above: ZooEntry | None = None
        top: Tensor | None = None
        for steps in self.rungs:
            identity = {
                "recipe": {"data": self.content["data"], METHOD: {**kept, "optimisation": self.plans[steps].to_dict()}},
                "parent": {**parent, "steps": 2 * steps},
                "data_sha256": self.images.sha256,
            }
            entry = self.made[steps]
            if entry is None:
                top = _decoded(self.root, self.noises, self.r["start"]) if top is None else top
                cost = rows[-1]["cost"] if rows else dict.fromkeys(("student_forwards", "teacher_forwards", "seconds"), 0)
                self._rung(steps, self.root if above is None else load_student(above, self.device), top, identity, cost)
                entry = find_card(KIND, self._card(steps))
            elif {k: entry.card.get(k) for k in identity} != json.loads(json.dumps(identity)):
                raise UserError(f"{entry.path} is of another training; choose another --out or remove it")
            rows.append(_row(entry.card))
            if self.world.rank == 0:
                told = {"teacher": rows[0]["parent"], "rungs": rows}
                write_whole(self.out / "ladder.json", (json.dumps(told, indent=1) + "\n").encode())
            parent, above = {k: entry.card[k] for k in parent}, entry
        return self.out / "ladder.json"

    def _rung(self, steps: int, teacher: UNetTeacher, top: Tensor, identity: dict[str, Any], cost: dict[str, int]) -> None:
        """Train the student of N = `steps` DDIM steps from its teacher of 2 N (algorithm 2, the inner loop) and write it.

        Args:
            top: images of the held-out noises by the ladder's own teacher.
            cost: of the rungs before.
        """
        r, o, root, device = self.r, self.plans[steps], self.root, self.device
        student = as_teacher(root, teacher.network.state_dict())
        weight, metric, mine = WEIGHTS[r["weights"]], METRICS[r["metric"]], slice(self.world.rank, None, self.world.size)
        own = _decoded(teacher, self.noises, 2 * steps)
        quicken([teacher.network], o, device)

        def loss(network: nn.Module, generator: torch.Generator, step: int) -> Tensor:
            x0, classes = (
                v[mine].to(device, non_blocking=True) for v in self.images.draw(o.part, r["label_dropout"], generator)
            )
            labels = classes if root.num_classes else None
            i = torch.randint(1, steps + 1, (o.part,), generator=generator)
            s, m, u = (v[mine].to(device, non_blocking=True) for v in levels(root.schedule, i, steps))
            eps = normal((o.part, *x0.shape[1:]), generator, device)[mine]
            x = x0 + s.float()[:, None, None, None] * eps
            with autocast(device):
                with torch.no_grad():
                    target = two_step_target(teacher, x, s, m, u, labels)
                predicted = student(x, s.float(), labels)
            scale = weight(s.float()).sqrt()[:, None, None, None]
            return metric(scale * predicted.float(), scale * target.float()).mean()

        def validate(network: nn.Module) -> dict[str, float]:
            found = _decoded(student, self.noises, steps)
            return {"error@0": relative_rmse(found, top), "step_error": relative_rmse(found, own)}

        name, folder = self._card(steps).stem, self.out / f"{steps}"
        options: dict[str, Any] = {"identity": identity, "validate": validate, "world": self.world, "quiet": self.quiet}
        result = fit(student.network, loss, o, folder, title=name, **options)
        card = {
            **card_of(METHOD, root, r["label_dropout"]),
            "steps": steps,
            # Of the whole ladder down to this rung.
            "cost": {
                "student_forwards": cost["student_forwards"] + result.images,
                "teacher_forwards": cost["teacher_forwards"] + 2 * result.images,
                "seconds": cost["seconds"] + round(result.seconds),
            },
        }
        if self.world.rank == 0:
            write_zoo(self.out, name, card, result, identity, device, curve=read_log(folder))
        self.world.wait()


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


def _check(r: Mapping[str, Any], where: str) -> None:
    """Refuse values of a wrong type in the recipe's section."""
    if extra := sorted(r.keys() - set(KEYS)):
        raise unknown(f"key of {where}", extra[0], KEYS)
    for key in ("name", "teacher"):
        check_value(r[key], str, f"{where}: {key}")
    for key in ("start", "end"):
        check_value(r[key], int, f"{where}: {key}", 1)
    check_share(r["label_dropout"], f"{where}: label_dropout")
    check_choice(r["weights"], WEIGHTS, "weights", where)
    check_choice(r["metric"], METRICS, "metric", where)
    if not isinstance(r["rungs"], Mapping) or not all(isinstance(v, Mapping) for v in r["rungs"].values()):
        raise UserError(f"{where}: rungs says what differs in the optimisation of a rung, as {{1: {{steps: 4000}}}}")
