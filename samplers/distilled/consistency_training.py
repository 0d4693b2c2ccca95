"""`bench train consistency` and `bench train consistency_training`: consistency models, distilled or from data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samplers.distilled.consistency import ODE_STEPS, ConsistencyFunction, intervals_at, nodes
from samplers.distilled.loading import as_teacher, card_of, check_choice, check_images
from samplers.distilled.losses import METRICS
from samplers.errors import UserError, unknown
from samplers.models.unet_teacher import load_unet_teacher
from samplers.registry import get
from samplers.schedule import GRIDS
from samplers.training.cards import write_zoo
from samplers.training.held_out import HeldOut, relative_rmse
from samplers.training.log import read_log
from samplers.training.loop import Target, fit
from samplers.training.optimisation import normal
from samplers.training.precision import autocast, quicken, reproducible_float32, use_all_cores
from samplers.training.recipe import DATA, check_share, check_value, load_recipe, load_split, optimisation
from samplers.world import World

SHARED = ("name", "teacher", "grid", "intervals", "metric", "target_ema", "label_dropout", "held_out", "optimisation")
REFERENCE = ("ipndm", 24)  # solver and steps of the images that held-out ones are compared with


def train(recipe: str | Path, data: Path | None, out: Path, *, device: torch.device | str = "cpu", quiet: bool = False) -> Path:
    """Consistency distillation (arXiv 2303.01469, algorithm 2); trains or resumes, returns the path of the student's card.

    Args:
        recipe: a shipped recipe's name or a YAML file with sections `data` and `consistency`.
        data: folder of the recipe's data files; by default data/.
        out: folder for checkpoint, log, card and weights.

    Raises:
        UserError: bad recipe or data, another training's folder, or NaN in the loss.
    """
    return _train("consistency", recipe, data, out, device, quiet)


def train_from_data(
    recipe: str | Path, data: Path | None, out: Path, *, device: torch.device | str = "cpu", quiet: bool = False
) -> Path:
    """As `train`, without the teacher's steps (algorithm 3), from its weights: easy consistency tuning (arXiv 2406.14548).

    The recipe's section is `consistency_training`.
    """
    return _train("consistency_training", recipe, data, out, device, quiet)


def _train(method: str, recipe: str | Path, data: Path | None, out: Path, device: torch.device | str, quiet: bool) -> Path:
    use_all_cores()
    reproducible_float32()
    world = World.join(device)
    device = world.device
    keys = (*SHARED, "ode_step") if method == "consistency" else SHARED
    content = load_recipe(recipe, {"data": DATA, method: keys})
    r, where = content[method], f"{recipe}: {method}"
    _check(r, keys, where)
    o = optimisation(r["optimisation"], where)
    world.share(o.part, where)
    images = load_split(content["data"], "train", data or Path("data")).near(device)
    teacher = load_unet_teacher(r["teacher"], device=device)
    check_images(images, teacher, where)
    noises = HeldOut(teacher, r["held_out"], device, where)
    true = noises.images(lambda z, labels: get(REFERENCE[0]).sample(teacher, z, steps=REFERENCE[1], labels=labels))
    ode_step, teacher_forwards = ODE_STEPS[r["ode_step"]] if method == "consistency" else (None, 0)
    student = as_teacher(teacher, teacher.network.state_dict())
    behind = as_teacher(teacher, teacher.network.state_dict()).requires_grad_(False)
    quicken([teacher.network, behind.network], o, device)
    f, f_target = ConsistencyFunction(student), ConsistencyFunction(behind)
    first, last = r["intervals"]
    metric, mine = METRICS[r["metric"]], slice(world.rank, None, world.size)
    grids = {n: nodes(teacher.schedule, n, r["grid"]) for n in {intervals_at(k, o.steps, first, last) for k in range(o.steps)}}

    def loss(network: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        sigma = grids[intervals_at(step, o.steps, first, last)]
        x0, classes = (v[mine].to(device, non_blocking=True) for v in images.draw(o.part, r["label_dropout"], generator))
        labels = classes if teacher.num_classes else None
        n = torch.randint(len(sigma) - 1, (o.part,), generator=generator)[mine]
        s, t = (sigma[k].float().to(device, non_blocking=True) for k in (n + 1, n))  # neighbours s > t
        eps = normal((o.part, *x0.shape[1:]), generator, device)[mine]
        x_s = x0 + s[:, None, None, None] * eps
        with autocast(device):
            with torch.no_grad():
                x_t = ode_step(teacher, x_s, s, t, labels) if ode_step else x0 + t[:, None, None, None] * eps
                target = f_target(x_t, t, labels)
            return metric(f(x_s, s, labels).float(), target.float()).mean()

    def validate(network: nn.Module) -> dict[str, float]:
        high = teacher.sigma_max

        def one_call(z: Tensor, labels: Tensor | None) -> Tensor:
            return f(high * z, torch.full((len(z),), high, device=device), labels)

        return {"error@0": relative_rmse(noises.images(one_call), true)}

    identity = {
        "recipe": {"data": content["data"], method: dict(r)},
        "teacher": {"name": teacher.name, "sha256": teacher.sha256},
        "data_sha256": images.sha256,
    }
    follower = Target(behind.network, r["target_ema"])
    options: dict[str, Any] = {"validate": validate, "target": follower, "world": world, "quiet": quiet}
    result = fit(student.network, loss, o, out, title=r["name"], identity=identity, **options)
    card = {
        **card_of(method, teacher, r["label_dropout"]),
        "cost": {  # the target's evaluation is a student forward too
            "student_forwards": 2 * result.images,
            "teacher_forwards": teacher_forwards * result.images,
            "seconds": round(result.seconds),
        },
    }
    if world.rank == 0:
        write_zoo(out, r["name"], card, result, identity, device, curve=read_log(out))
    world.wait()
    return out / f"{r['name']}.json"


def _check(r: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    """Refuse values of a wrong type in the recipe's section."""
    if extra := sorted(r.keys() - set(keys)):
        raise unknown(f"key of {where}", extra[0], keys)
    for key in ("name", "teacher"):
        check_value(r[key], str, f"{where}: {key}")
    for key, known in (("grid", GRIDS), ("metric", METRICS), ("ode_step", ODE_STEPS)):
        if key in r:
            check_choice(r[key], known, key, where)
    pair = r["intervals"]
    if not isinstance(pair, list) or len(pair) != 2:
        raise UserError(f"{where}: intervals are two numbers, the first and the last of the curriculum, not {pair!r}")
    for value in pair:
        check_value(value, int, f"{where}: intervals", 2)
    if pair[0] > pair[1]:
        raise UserError(f"{where}: intervals must not fall, got {pair[0]} and then {pair[1]}")
    for key in ("target_ema", "label_dropout"):
        check_share(r[key], f"{where}: {key}")
