"""`bench train ablations`: the controls that the paper leaves open, each trained at one small budget, compared in pairs.

A recipe's section `ablations` has `base`, changes to its section `dsno` that make the budget small, and `variants`, a name and
the changes of each. Every variant and seed is a student of its own, in a folder of its own; what is finished stays.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from scipy.stats import t

from dsno.held_out import HeldOutPaths
from dsno.loading import KIND, ZOO, load_student
from dsno.network import logsnr_at
from dsno.training import DSNORecipe, DSNOTraining, put_over
from dsno.trajectories import Trajectories
from samplers.documents import Document
from samplers.errors import UserError
from samplers.files import write_json
from samplers.models.unet_teacher import load_unet_teacher
from samplers.models.zoo import find_card
from samplers.settings import Settings
from samplers.training.recipe import HeldOutNoises, Name, read_recipe, same_settings
from samplers.training.trainer import Trainer
from samplers.world import World

BASE = "dsno"
"""The variant that the others are compared with."""
POWER = 0.8
"""How often a difference that is there would be told: what a comparison's smallest one is stated for."""


class Variant(Settings):
    """What a variant says besides what differs in its section `dsno`."""

    seeds: tuple[Annotated[int, Field(ge=0, le=10**18)], ...] = Field(
        (0,), min_length=1, description="of its students, one each"
    )
    note: str | None = Field(None, description="what the table calls it")


class AblationsRecipe(Settings):
    """The section `ablations` of a recipe."""

    held_out: HeldOutNoises = Field(description="noises that all students are compared on")
    base: dict[str, Any] = Field({}, description="what differs from the section `dsno` in all")
    variants: dict[Name, dict[str, Any] | None] = Field(
        description="what differs in each, its `seeds` and a `note`; one is `dsno`"
    )


class Ablations(Trainer):
    """Every variant and seed of the section `ablations`, trained and compared; `train` returns the path of the table (JSON).

    Trajectories are looked for as `DSNOTraining` does; `out` gets a folder for each student, and `ablations.json`.
    """

    section, Recipe = "ablations", AblationsRecipe

    @classmethod
    def check(cls, recipe: Document) -> None:
        for section in students(recipe).values():
            DSNORecipe.of(section)

    @classmethod
    def train(
        cls, recipe: str | Path, data: Path | None, out: Path, *, device: torch.device | str = "cpu", quiet: bool = False
    ) -> Path:
        document = read_recipe(recipe)
        sections = students(document)
        recipes = {name: DSNORecipe.of(section) for name, section in sections.items()}
        folder, world = data or out.parent / f"{Path(recipe).stem}-trajectories", World.join(device)
        for name, section in sections.items():
            card = out / name / f"{name}.json"
            if not card.exists():
                whole = Document({"dsno": section.values}, section.origin)
                DSNOTraining(whole, folder, out / name, device=device, quiet=quiet).run()
                continue
            told = find_card(KIND, card, ZOO).card.get("recipe")
            if not same_settings(told, json.loads(json.dumps({"dsno": section.values})), {"dsno": DSNORecipe}):
                raise UserError(f"{card} was trained by another recipe; remove its folder, or choose another --out")
        if world.rank == 0:
            compare_students(recipes, AblationsRecipe.of(cls.section_of(document)), folder, out)
        world.wait()
        return out / "ablations.json"


def students(recipe: Document) -> dict[str, Document]:
    """Name of each student ("VARIANT-sSEED") and its whole section `dsno`.

    Raises:
        UserError: a variant without seeds, or none called "dsno".
    """
    asked = recipe.section("ablations")
    r = AblationsRecipe.of(asked)
    if BASE not in r.variants:
        raise UserError(f"{asked.place(('variants',))}: variants needs a '{BASE}' to compare the others with")
    base = recipe.section("dsno")
    base = replace(base, values={k: v for k, v in base.values.items() if k != "search"})
    if r.base:
        base = put_over(base, asked.section("base"))
    told = {name: _variant(asked.section("variants"), name) for name in r.variants}
    found = {}
    for seed in sorted({s for variant, _ in told.values() for s in variant.seeds}):  # every one once before any a second time
        for name, (variant, changes) in told.items():
            if seed in variant.seeds:
                student = f"{name}-s{seed}"
                section = put_over(base, changes)
                named = Document({"name": student, "optimisation": {"seed": seed}}, recipe.origin, {}, section.section_keys)
                found[student] = put_over(section, named)
    return found


def _variant(variants: Document, name: str) -> tuple[Variant, Document]:
    """What a variant says of itself, and of its section `dsno`."""
    empty = Document({}, variants.origin, variants.lines, (*variants.section_keys, name))
    whole = empty if variants.values[name] is None else variants.section(name)
    own = {k: v for k, v in whole.values.items() if k in Variant.model_fields}
    rest = {k: v for k, v in whole.values.items() if k not in own}
    return Variant.of(replace(whole, values=own)), replace(whole, values=rest)


def compare_students(recipes: Mapping[str, DSNORecipe], asked: AblationsRecipe, data: Path, out: Path) -> Path:
    """Errors of all students on the same held-out noises, each variant's against the base's, as `out/ablations.json`.

    Args:
        recipes: each student's.
        asked: the recipe's section `ablations`.
        data: folder of trajectories.
        out: folder of the students.
    """
    rows, errors = [], {}  # type: list[dict[str, Any]], dict[str, np.ndarray]
    for name, r in recipes.items():
        entry = find_card(KIND, out / name / f"{name}.json", ZOO)
        network, schedule = load_student(entry)
        times = network.operator.times()
        teacher = load_unet_teacher(r.teacher)
        paths = Trajectories(data, teacher.sha256, times, r.target, r.trajectories, verify=False)
        truth = HeldOutPaths.make(paths, teacher, asked.held_out, times, World(0, 1, torch.device("cpu")), out)
        logsnr = logsnr_at(schedule, times)
        own = truth.squared_error(network, logsnr)[:, -1].numpy()
        scale = float(truth.frames[:, -1].double().square().mean())
        seen = HeldOutPaths.first(paths, len(truth.labels)).error(network, logsnr)[-1]
        errors[name] = own / scale
        c = entry.card
        rows.append(
            {
                "student": name,
                "variant": name.rsplit("-s", 1)[0],
                "seed": r.optimisation.seed,
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
    notes = {name: (changes or {}).get("note") or name for name, changes in asked.variants.items()}
    summaries = [{**row, "note": notes[row["variant"]]} for row in summary(rows, errors)]
    table = {"held_out": asked.held_out.values(), "base": BASE, "students": rows, "variants": summaries}
    write_json(out / "ablations.json", table)
    return out / "ablations.json"


def summary(rows: list[dict[str, Any]], errors: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """One row a variant: its error, and the ratio of its error to the base's with a 95 % interval.

    Error is the relative RMSE of the image. The ratio's interval adds two variances: that of the paired difference over the
    held-out noises, and that between training seeds of one variant (pooled over the variants that have several), which has few
    degrees of freedom: Student's t by Welch and Satterthwaite. Without two seeds of any variant there is no interval. `tells`:
    the difference of errors, relative, that these noises and seeds would tell from none four times in five (a power of 80 %).
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
        deviation, quantile = math.sqrt(paired + seeds), float(t.ppf(0.975, freedom))
        half, tells = quantile * deviation, (quantile + float(t.ppf(POWER, freedom))) * deviation
        low, high = (math.exp((log_ratio + side * half) / 2) for side in (-1, 1))
        verdict = "not told apart" if low <= 1 <= high else "worse" if low > 1 else "better"
        row |= {"ratio_low": low, "ratio_high": high, "verdict": verdict, "tells": math.exp(tells / 2) - 1}
    return found
