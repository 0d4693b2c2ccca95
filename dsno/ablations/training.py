"""`bench train ablations`: the controls that the paper leaves open, each trained at one small budget, compared in pairs.

A recipe's section `ablations` has `base`, changes to its section `dsno` that make the budget small, and `variants`, a name and
the changes of each. Every variant and seed is a student of its own, in a folder of its own; what is finished stays.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t

from dsno.held_out import HeldOut
from dsno.network import logsnr_at
from dsno.students import KIND, ZOO, load_student
from dsno.training import KEYS, OPTIONAL, merged, train_student
from dsno.trajectories import Trajectories
from samplers.errors import UserError, unknown
from samplers.files import write_whole
from samplers.models.unet_teacher import load_unet_teacher
from samplers.models.zoo import find_card
from samplers.training.precision import use_all_cores
from samplers.training.recipe import check_value, load_recipe
from samplers.world import World

BASE = "dsno"
"""The variant that the others are compared with."""


def train(recipe: str | Path, data: Path | None, out: Path, *, device: torch.device | str = "cpu", quiet: bool = False) -> Path:
    """Train every variant and seed of a recipe's `ablations`, then compare them; returns the path of the table (JSON).

    Args:
        recipe: a shipped recipe's name or a YAML file with sections `dsno` and `ablations`.
        data: folder of trajectories; by default RECIPE-trajectories beside `out`.
        out: gets a folder for each student, and `ablations.json`.

    Raises:
        UserError: bad recipe or trajectories, or a training that diverged.
    """
    use_all_cores()
    sections = load_recipe(recipe, {"dsno": KEYS, "ablations": ("base", "held_out", "variants")})
    folder = data or out.parent / f"{Path(recipe).stem}-trajectories"
    recipes, world = variants(sections), World.join(device)
    for name, r in recipes.items():
        card = out / name / f"{name}.json"
        if not card.exists():
            train_student(r, folder, out / name, device=device, quiet=quiet)
        elif find_card(KIND, card, ZOO).card.get("recipe") != json.loads(json.dumps({"dsno": r})):
            raise UserError(f"{card} was trained by another recipe; remove its folder, or choose another --out")
    if world.rank == 0:
        compare(recipes, sections["ablations"], folder, out)
    world.wait()
    return out / "ablations.json"


def variants(sections: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Name of each student ("VARIANT-sSEED") and its whole section `dsno`.

    Raises:
        UserError: a variant without seeds, or none called "dsno".
    """
    a = sections["ablations"]
    if not isinstance(a["variants"], Mapping) or BASE not in a["variants"]:
        raise UserError(f"ablations: variants needs a '{BASE}' to compare the others with")
    for part in (a["base"], a["held_out"], *a["variants"].values()):
        if not isinstance(part, Mapping | None):
            raise UserError(f"ablations: {part!r} is not a section of 'key: value' lines")
    for key in ("count", "seed"):
        check_value((a["held_out"] or {}).get(key), int, f"ablations: held_out: {key}", 0)
    found = {}
    seeds = {name: (changes or {}).get("seeds", [0]) for name, changes in a["variants"].items()}
    for name, own in seeds.items():
        if not isinstance(own, list) or not own:
            raise UserError(f"ablations: {name}: seeds is a list of whole numbers, as [0, 1], not {own!r}")
    for seed in sorted({s for own in seeds.values() for s in own}):  # every variant once before any a second time
        for name, own in seeds.items():
            if seed in own:
                changes = {k: v for k, v in (a["variants"][name] or {}).items() if k not in ("seeds", "note")}
                student = f"{name}-s{seed}"
                r = merged(merged(sections["dsno"], a["base"] or {}), changes)
                found[student] = merged(r, {"name": student, "optimisation": {"seed": seed}})
                if extra := sorted(found[student].keys() - {*KEYS, *OPTIONAL}):
                    raise unknown(f"key of ablation '{name}'", extra[0], (*KEYS, *OPTIONAL))
    return found


def compare(recipes: Mapping[str, dict[str, Any]], told: Mapping[str, Any], data: Path, out: Path) -> Path:
    """Errors of all students on the same held-out noises, each variant's against the base's, as `out/ablations.json`.

    Args:
        recipes: each student's, as `variants` gives them.
        told: the recipe's section `ablations`.
        data: folder of trajectories.
        out: folder of the students.
    """
    held_out = told["held_out"]
    rows, errors = [], {}  # type: list[dict[str, Any]], dict[str, np.ndarray]
    for name, r in recipes.items():
        entry = find_card(KIND, out / name / f"{name}.json", ZOO)
        network, schedule = load_student(entry)
        times = network.operator.times()
        teacher = load_unet_teacher(r["teacher"])
        paths = Trajectories(data, teacher.sha256, times, r["target"], r["trajectories"], verify=False)
        truth = HeldOut.make(paths, teacher, held_out, times, World(0, 1, torch.device("cpu")), out)
        logsnr = logsnr_at(schedule, times)
        own = truth.squared_error(network, logsnr)[:, -1].numpy()
        scale = float(truth.frames[:, -1].double().square().mean())
        seen = HeldOut.first(paths, len(truth.labels)).error(network, logsnr)[-1]
        errors[name] = own / scale
        c = entry.card
        rows.append(
            {
                "student": name,
                "variant": name.rsplit("-s", 1)[0],
                "seed": r["optimisation"]["seed"],
                "points": c["operator"]["points"],
                "modes": c["operator"]["modes"],
                "updates": c["training"]["steps"],
                "trajectories": len(paths),
                "student_forwards": c["cost"]["student_forwards"],
                "seconds": c["training"]["seconds"],
                "parameters": c["parameters"],
                "error": math.sqrt(float(errors[name].mean())),
                "seen_error": seen,
                "sha256": c["sha256"],
            }
        )
    notes = {name: (changes or {}).get("note", name) for name, changes in told["variants"].items()}
    summaries = [{**row, "note": notes[row["variant"]]} for row in summary(rows, errors)]
    table = {"held_out": dict(held_out), "base": BASE, "students": rows, "variants": summaries}
    write_whole(out / "ablations.json", (json.dumps(table, indent=1) + "\n").encode())
    return out / "ablations.json"


def summary(rows: list[dict[str, Any]], errors: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """One row a variant: its error, and the ratio of its error to the base's with a 95 % interval.

    Error is the relative RMSE of the image. The ratio's interval adds two variances: that of the paired difference over the
    held-out noises, and that between training seeds of one variant (pooled over the variants that have several), which has few
    degrees of freedom: Student's t by Welch and Satterthwaite. Without two seeds of any variant there is no interval.
    """
    of = {v: [r["student"] for r in rows if r["variant"] == v] for v in dict.fromkeys(r["variant"] for r in rows)}
    mean = {v: np.mean([errors[s] for s in students], axis=0) for v, students in of.items()}
    several = [students for students in of.values() if len(students) > 1]
    degrees = [len(students) - 1 for students in several]
    spread = [np.var([math.log(errors[s].mean()) for s in students], ddof=1) for students in several]
    between = float(np.average(spread, weights=degrees)) if spread else None
    base, found = mean[BASE], []
    for v, students in of.items():
        own = mean[v]
        row: dict[str, Any] = {"variant": v, "seeds": len(students), "error": math.sqrt(own.mean())}
        found.append(row)
        if v == BASE:
            continue
        log_ratio = math.log(own.mean() / base.mean())
        row["ratio"] = math.exp(log_ratio / 2)
        if between is None:
            row |= {"ratio_low": None, "ratio_high": None, "verdict": "one seed each"}
            continue
        # Delta method on log(mean own / mean base), paired over the noises.
        paired = float(np.var(own / own.mean() - base / base.mean(), ddof=1)) / len(own)
        seeds = between * (1 / len(students) + 1 / len(of[BASE]))
        freedom = (paired + seeds) ** 2 / (paired**2 / (len(own) - 1) + seeds**2 / sum(degrees))
        half = float(t.ppf(0.975, freedom)) * math.sqrt(paired + seeds)
        low, high = (math.exp((log_ratio + side * half) / 2) for side in (-1, 1))
        verdict = "not told apart" if low <= 1 <= high else "worse" if low > 1 else "better"
        row |= {"ratio_low": low, "ratio_high": high, "verdict": verdict}
    return found
