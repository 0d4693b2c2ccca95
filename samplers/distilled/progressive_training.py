"""`bench train progressive`: the ladder of progressive distillation, each student the teacher of the next."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samplers.distilled.progressive import WEIGHTS, ladder, levels, two_step_target
from samplers.distilled.students import KIND, as_teacher, card_of, check_choice, check_images, check_share, load_student
from samplers.errors import UserError, unknown
from samplers.held_out import HeldOut, relative_rmse
from samplers.recipe import DATA, check_value, load_recipe, load_split, optimisation
from samplers.solvers.euler import DDIM
from samplers.teacher import Teacher, ZooEntry, find_card, load_teacher
from samplers.training import autocast, exact_float32, fit, read_log, use_all_cores
from samplers.weights import write_whole
from samplers.zoo_writer import write_zoo

KEYS = ("name", "teacher", "start", "end", "weights", "label_dropout", "held_out", "optimisation", "rungs")
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
    exact_float32()
    device = torch.device(device)
    content = load_recipe(recipe, {"data": DATA, METHOD: KEYS})
    r, where = content[METHOD], f"{recipe}: {METHOD}"
    _check(r, where)
    rungs = ladder(r["start"], r["end"])
    if extra := sorted(set(r["rungs"]) - set(rungs), key=str):
        raise UserError(f"{where}: rungs: {extra[0]} is no rung; they are {', '.join(map(str, rungs))}")
    optimisation(r["optimisation"], where)
    plans = {n: optimisation({**r["optimisation"], **r["rungs"].get(n, {})}, f"{where}: rungs: {n}") for n in rungs}
    images = load_split(content["data"], "train", data or Path("data"))
    root = load_teacher(r["teacher"], device=device)
    check_images(images, root, where)
    noises = HeldOut(root, r["held_out"], device, where)
    made = [_finished(out / f"{r['name']}-{steps}.json") for steps in rungs]
    _no_gap(made, rungs, out, r["name"])
    reference: Tensor | None = None
    kept = {k: v for k, v in r.items() if k not in ("end", "rungs")}  # a ladder may be made longer
    teacher, rows = root, []  # type: Teacher, list[dict[str, Any]]
    for steps, entry in zip(rungs, made, strict=True):
        o = plans[steps]
        parent = {"name": teacher.name, "sha256": teacher.sha256, "steps": 2 * steps}
        identity = {
            "recipe": {"data": content["data"], METHOD: {**kept, "optimisation": vars(o)}},
            "parent": parent,
            "data_sha256": images.sha256,
        }
        if entry is None:
            if reference is None:
                reference = _decoded(root, noises, r["start"])
            own = _decoded(teacher, noises, 2 * steps)
            entry = _rung(steps, r, o, root, teacher, images, noises, (own, reference), identity, rows, out, device, quiet)
        elif {k: entry.card.get(k) for k in identity} != json.loads(json.dumps(identity)):
            raise UserError(f"{entry.path} is of another training; choose another --out or remove it")
        rows.append(_row(entry.card))
        write_whole(out / "ladder.json", (json.dumps({"teacher": rows[0]["parent"], "rungs": rows}, indent=1) + "\n").encode())
        teacher = load_student(entry, device)
    return out / "ladder.json"


def _rung(
    steps: int,
    r: Mapping[str, Any],
    o: Any,
    root: Teacher,
    teacher: Teacher,
    images: Any,
    noises: HeldOut,
    true: tuple[Tensor, Tensor],
    identity: dict[str, Any],
    before: list[dict[str, Any]],
    out: Path,
    device: torch.device,
    quiet: bool,
) -> ZooEntry:
    """Train the student of N = `steps` DDIM steps from its teacher of 2 N (algorithm 2, the inner loop)."""
    student = as_teacher(root, teacher.network.state_dict())
    weight = WEIGHTS[r["weights"]]

    def loss(network: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        x0, classes = (v.to(device) for v in images.draw(o.batch, r["label_dropout"], generator))
        labels = classes if root.num_classes else None
        s, m, u = (
            v.to(device) for v in levels(root.schedule, torch.randint(1, steps + 1, (o.batch,), generator=generator), steps)
        )
        eps = torch.randn(x0.shape, generator=generator).to(device)
        x = x0 + s.float()[:, None, None, None] * eps
        with autocast(device):
            with torch.no_grad():
                target = two_step_target(teacher, x, s, m, u, labels)
            predicted = student(x, s.float(), labels)
        return (weight(s.float()) * (predicted - target).float().square().mean(dim=(1, 2, 3))).mean()

    def validate(network: nn.Module) -> dict[str, float]:
        found, (own, top) = _decoded(student, noises, steps), true
        return {"error@0": relative_rmse(found, top), "step_error": relative_rmse(found, own)}

    name = f"{r['name']}-{steps}"
    folder = out / f"{steps}"
    result = fit(student.network, loss, o, folder, title=name, identity=identity, validate=validate, quiet=quiet)
    images_seen = result.steps * o.batch
    cost = before[-1]["cost"] if before else {"student_forwards": 0, "teacher_forwards": 0, "seconds": 0}
    card = {
        **card_of(METHOD, root, r["label_dropout"]),
        "steps": steps,
        # Of the whole ladder down to this rung.
        "cost": {
            "student_forwards": cost["student_forwards"] + images_seen,
            "teacher_forwards": cost["teacher_forwards"] + 2 * images_seen,
            "seconds": cost["seconds"] + round(result.seconds),
        },
    }
    return ZooEntry(
        (path := write_zoo(out, name, card, result, identity, device, curve=read_log(folder))), json.loads(path.read_text())
    )


def _decoded(model: Teacher, noises: HeldOut, steps: int) -> Tensor:
    """Images of the held-out noises by `steps` DDIM steps of a model."""
    model.eval()
    return noises.images(lambda z, labels: DDIM().sample(model, z, steps=steps, labels=labels))


def _finished(path: Path) -> ZooEntry | None:
    """The card of a rung that is done."""
    return find_card(KIND, path) if path.exists() else None


def _no_gap(made: list[ZooEntry | None], rungs: list[int], out: Path, name: str) -> None:
    done = [n for n, entry in zip(rungs, made, strict=True) if entry is not None]
    for n, entry in zip(rungs, made, strict=True):
        if entry is None and any(d < n for d in done):
            below = max(d for d in done if d < n)
            raise UserError(
                f"{out}: the ladder lacks the student of {n} steps, though that of {below} is there; put {name}-{n}.json and "
                "its weights back, or remove the cards below it to train them again"
            )


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
    if not isinstance(r["rungs"], Mapping) or not all(isinstance(v, Mapping) for v in r["rungs"].values()):
        raise UserError(f"{where}: rungs says what differs in the optimisation of a rung, as {{1: {{steps: 4000}}}}")
