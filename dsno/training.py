"""`bench train dsno`: fit the network to trajectories of the teacher (arXiv 2211.13449, section 4)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dsno.held_out import HeldOut
from dsno.losses import path_loss, terms
from dsno.network import DSNOConfig, from_teacher, logsnr_at
from dsno.times import loss_weights
from dsno.trajectories import Trajectories
from dsno.trajectory_making import seconds_taken
from samplers.errors import UserError, unknown
from samplers.models.unet import parameter_count
from samplers.models.unet_teacher import load_unet_teacher
from samplers.training.cards import write_zoo
from samplers.training.held_out import check_held_out
from samplers.training.log import read_log
from samplers.training.loop import fit
from samplers.training.precision import autocast, reproducible_float32, use_all_cores
from samplers.training.recipe import build, check_share, check_value, load_recipe, optimisation
from samplers.world import World

KEYS = ("name", "teacher", "network", "target", "weights", "loss", "features", "trajectories", "held_out", "optimisation")
OPTIONAL = ("dropout",)
"""Keys that a recipe's section `dsno` may have besides: dropout while it trains, 0 where it is not there."""


def train(recipe: str | Path, data: Path | None, out: Path, *, device: torch.device | str = "cpu", quiet: bool = False) -> Path:
    """Train (or resume) the student of a recipe; returns the path of its card, weights beside it.

    Args:
        recipe: a shipped recipe's name or a YAML file with a section `dsno`.
        data: folder of trajectories; by default RECIPE-trajectories beside `out`, where 'bench train trajectories' puts them.
        out: folder for checkpoint, log, card and weights.

    Raises:
        UserError: bad recipe or trajectories, a teacher that cannot initialise DSNO, another training's folder, NaN.
    """
    r = load_recipe(recipe, {"dsno": KEYS})["dsno"]
    return train_student(r, data or out.parent / f"{Path(recipe).stem}-trajectories", out, device=device, quiet=quiet)


def train_knowledge_distillation(
    recipe: str | Path, data: Path | None, out: Path, *, device: torch.device | str = "cpu", quiet: bool = False
) -> Path:
    """As `train`, for the control: M = 1 and no temporal layers, which is knowledge distillation (arXiv 2101.02388).

    The recipe's section `knowledge_distillation` has what differs from its section `dsno`.
    """
    r = load_recipe(recipe, {"dsno": KEYS, "knowledge_distillation": ("name",)})
    changed = merged(r["dsno"], merged({"network": {"points": 1, "modes": 0}}, r["knowledge_distillation"]))
    folder = data or out.parent / f"{Path(recipe).stem}-trajectories"
    return train_student(changed, folder, out, device=device, quiet=quiet)


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `changes` put over them, section by section; the terms of a loss are replaced as a whole."""
    result = dict(values)
    for key, value in changes.items():
        nested = isinstance(value, Mapping) and isinstance(result.get(key), Mapping) and key != "loss"
        result[key] = merged(result[key], value) if nested else value
    return result


def train_student(
    r: Mapping[str, Any], data: Path, out: Path, *, device: torch.device | str = "cpu", quiet: bool = False
) -> Path:
    """As `train`, from the content `r` of a recipe's section."""
    use_all_cores()
    reproducible_float32()
    world = World.join(device)
    if extra := sorted(r.keys() - {*KEYS, *OPTIONAL}):
        raise unknown(f"key of dsno '{r['name']}'", extra[0], (*KEYS, *OPTIONAL))
    where = f"dsno '{r['name']}'"
    o = optimisation(r["optimisation"], where)
    world.share(o.part, where)
    teacher = load_unet_teacher(r["teacher"], device=world.device)
    config = build(DSNOConfig, r["network"], f"{where}: network")
    _check(r, where)
    torch.manual_seed(o.seed)
    network = from_teacher(teacher, config, dropout=r.get("dropout", 0.0))
    times = config.times()
    paths = Trajectories(data, teacher.sha256, times, r["target"], r["trajectories"])
    held_out = HeldOut.make(paths, teacher, r["held_out"], times, world, out)
    seen = HeldOut.first(paths, len(held_out.labels))
    if world.device.type == "cuda":
        paths.near(world.device)
    weights = torch.tensor(loss_weights(teacher.schedule, times, r["weights"]), device=world.device)
    loss_terms = terms(r["loss"], teacher, r["features"])
    logsnr = logsnr_at(teacher.schedule, times, world.device)

    def loss(network: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        chosen = torch.randint(len(paths), (o.part,), generator=generator)[world.rank :: world.size].tolist()
        frames, labels = (t.to(world.device) for t in paths.frames(chosen))
        z = paths.noise(chosen).to(world.device).contiguous(memory_format=torch.channels_last)
        with autocast(world.device):
            predicted = network(z, logsnr.expand(len(z), -1), labels)
        return path_loss(predicted.float(), frames, weights, loss_terms)

    def validate(network: nn.Module) -> dict[str, float]:
        errors = held_out.error(network, logsnr)
        return {f"error@{t:g}": e for t, e in zip(times, errors, strict=True)} | {"seen_error": seen.error(network, logsnr)[-1]}

    m = paths.manifest
    made_from = {k: m[k] for k in ("teacher", "solver", "steps", "target", "seed", "labels")}
    # Not the manifest's hash: another machine makes the same trajectories with other last bits, and goes on from a checkpoint.
    identity = {"recipe": {"dsno": dict(r)}, "trajectories": {**made_from, "used": len(paths)}}
    result = fit(network, loss, o, out, title=r["name"], identity=identity, validate=validate, world=world, quiet=quiet)
    forwards = result.steps * o.batch * config.points
    made_in = seconds_taken(data, [s["file"] for s in m["shards"]])
    card = {
        "kind": "dsno",
        "teacher": m["teacher"],
        "network": network.config.to_dict(),
        "operator": {"points": config.points, "grid": config.grid, "modes": config.modes},
        "sigma_min": teacher.sigma_min,
        "sigma_max": teacher.sigma_max,
        "target": r["target"],
        "labels": m["labels"],
        "noise_seeds": [paths.seed],
        "parameters": parameter_count(network),
        "cost": {
            "student_forwards": forwards,
            "teacher_forwards": len(paths) * m["calls"],
            **({} if made_in is None else {"seconds": round(result.seconds + made_in * len(paths) / m["count"])}),
        },
    }
    if world.rank == 0:
        told = {**identity, "data_sha256": paths.sha256}
        write_zoo(out, r["name"], card, result, told, world.device, curve=read_log(out))
    world.wait()
    return out / f"{r['name']}.json"


def _check(r: Mapping[str, Any], where: str) -> None:
    """Refuse values of a wrong type in a recipe's section."""
    for key in ("name", "teacher", "target", "weights"):
        check_value(r[key], str, f"{where}: {key}")
    if r["trajectories"] is not None:
        check_value(r["trajectories"], int, f"{where}: trajectories", 1)
    check_held_out(r["held_out"], where)
    check_share(r.get("dropout", 0.0), f"{where}: dropout")
    if not isinstance(r["loss"], Mapping):
        raise UserError(f"{where}: loss is a factor for each term, as {{l1: 1}}, not {r['loss']!r}")
    for term, factor in r["loss"].items():
        check_value(factor, float, f"{where}: loss: {term}", 0)
    check_value(r["features"], str, f"{where}: features")
