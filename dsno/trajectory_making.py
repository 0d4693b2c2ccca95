"""`bench train trajectories`: solve the teacher's probability-flow ODE for many noises and keep the wanted time points."""

import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import Tensor

import samplers
from dsno.times import time_points
from dsno.trajectories import MANIFEST, shard_name
from samplers.errors import UserError, unknown
from samplers.files import sha256, write_whole
from samplers.models.unet_teacher import UNetTeacher, load_unet_teacher
from samplers.models.weights import load_tensors, save_tensors
from samplers.schedule import sigmas
from samplers.solvers.paths import TARGETS, levels_through, path_of
from samplers.time_limit import stop_in_time
from samplers.training.precision import reproducible_float32, use_all_cores
from samplers.training.recipe import check_value, load_recipe
from samplers.world import World

SECONDS = "seconds.jsonl"
"""What each shard took, one JSON object a line: {file, seconds}."""
KEYS = ("teacher", "solver", "steps", "grids", "target", "count", "seed", "labels", "shard", "batch")
CHECKED = 64
"""Trajectories whose error against a solution with four times the steps is stated in the manifest."""


def train(recipe: str | Path, data: Path | None, out: Path, *, device: torch.device | str = "cpu", quiet: bool = False) -> Path:
    """Make (or go on making) the trajectories of a recipe; returns the path of the manifest.

    Under torchrun each process makes every n-th shard. A shard that is there and whole is kept.

    Args:
        recipe: a shipped recipe's name or a YAML file with a section `trajectories`.
        data: not used: trajectories come from the teacher alone.
        out: folder for the shards and the manifest.

    Raises:
        UserError: bad recipe, a stochastic or unknown solver, or a folder of other trajectories.
        TimeUpError: the time limit around it is over; the shards that are made are kept.
    """
    use_all_cores()
    reproducible_float32()
    r = load_recipe(recipe, {"trajectories": KEYS})["trajectories"]
    _check(r, f"{recipe}: trajectories")
    world = World.join(device)
    teacher = load_unet_teacher(r["teacher"], device=world.device)
    maker = Maker(teacher, r)
    shards = [range(a, min(a + r["shard"], r["count"])) for a in range(0, r["count"], r["shard"])]
    own = list(enumerate(shards))[world.rank :: world.size]
    for k, indices in track(own, f"trajectories of {teacher.name}", disable=quiet or world.rank > 0):
        if _make_shard(maker, out / shard_name(k), indices) and k + 1 < len(shards):
            stop_in_time()
    world.wait()
    if world.rank == 0:
        files = [
            {"file": shard_name(k), "first": i.start, "count": len(i), "sha256": sha256(out / shard_name(k))}
            for k, i in enumerate(shards)
        ]
        manifest = {"kind": "trajectories", **maker.identity, "count": r["count"], "error": maker.error(), "shards": files}
        write_whole(out / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
    world.wait()
    return out / MANIFEST


def _check(r: dict[str, Any], where: str) -> None:
    """Refuse values of a wrong type in a recipe's section."""
    for key in ("steps", "count", "shard", "batch"):
        check_value(r[key], int, f"{where}: {key}", 1)
    check_value(r["seed"], int, f"{where}: seed", 0)
    check_value(r["solver"], str, f"{where}: solver")
    if not isinstance(r["grids"], dict) or not r["grids"]:
        raise UserError(f"{where}: grids gives each time grid its number of points, as {{quadratic: 4}}, not {r['grids']!r}")
    for grid, points in r["grids"].items():
        check_value(points, int, f"{where}: grids: {grid}", 1)


def _make_shard(maker: "Maker", path: Path, indices: range) -> bool:
    """Make a shard unless it is there, whole and of the same settings; whether it was made."""
    stamp = {**maker.identity, "first": indices.start, "count": len(indices)}
    stamp = json.loads(json.dumps(stamp))
    if path.exists():
        try:
            if load_tensors(path)[1] == stamp:
                return False
        except UserError:
            pass  # cut short by a kill: made again
        else:
            raise UserError(f"{path} is of other trajectories; choose another --out or remove the folder")
    begin = time.monotonic()
    frames, labels = [], []
    for first in range(indices.start, indices.stop, maker.batch):
        part = range(first, min(first + maker.batch, indices.stop))
        found, own = maker.solve(part)
        frames.append(found.half().cpu())
        labels.append(own.cpu())
    save_tensors(path, {"frames": torch.cat(frames), "labels": torch.cat(labels)}, stamp)
    with open(path.parent / SECONDS, "a") as f:  # beside the shard: its bytes depend on the recipe alone
        f.write(json.dumps({"file": path.name, "seconds": round(time.monotonic() - begin, 3)}) + "\n")
    return True


def seconds_taken(folder: Path, shards: Sequence[str]) -> float | None:
    """Seconds, over all processes, that making the named shards took; None if that was not noted of each."""
    path = folder / SECONDS
    taken: dict[str, float] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError, KeyError, TypeError):  # a line cut short by a kill
            row = json.loads(line)
            taken[row["file"]] = float(row["seconds"])
    return sum(taken[s] for s in shards) if taken.keys() >= set(shards) else None


class Maker:
    """Solves for trajectories by a recipe's section `trajectories`."""

    def __init__(self, teacher: UNetTeacher, r: dict[str, Any]):
        self.teacher, self.batch = teacher, r["batch"]
        if r["target"] not in TARGETS:
            raise unknown("target", str(r["target"]), TARGETS)
        if r["labels"] not in ("balanced", "none"):
            raise unknown("labels", str(r["labels"]), ("balanced", "none"))
        solver = samplers.get(r["solver"])
        if not isinstance(solver, samplers.Solver) or not solver.card.deterministic:
            raise UserError(f"{r['solver']} has no trajectory that is a function of the noise; name a deterministic solver")
        self.solver, self.target, self.seed = solver, r["target"], r["seed"]
        self.labelled = r["labels"] == "balanced" and teacher.num_classes > 0
        self.times = sorted({t for grid, m in r["grids"].items() for t in time_points(grid, m)}, reverse=True)
        self.wanted = [teacher.schedule.sigma(t) if t > 0 else 0.0 for t in self.times]
        self.levels, self.fine = (
            levels_through(sigmas(teacher.schedule, n, solver.grid), self.wanted) for n in (r["steps"], 4 * r["steps"])
        )
        self.identity = {
            "teacher": {"name": teacher.name, "sha256": teacher.sha256},
            "solver": r["solver"],
            "solver_grid": solver.grid,
            "steps": r["steps"],
            "calls": solver.card.calls(len(self.levels) - 1),
            "target": self.target,
            "grids": r["grids"],
            "times": self.times,
            "seed": self.seed,
            "labels": "balanced" if self.labelled else "none",
            "shape": list(teacher.shape),
        }

    def labels(self, indices: range) -> Tensor:
        """Class i mod K of trajectory i, or -1."""
        k = self.teacher.num_classes
        return torch.tensor([i % k if self.labelled else -1 for i in indices], device=next(self.teacher.parameters()).device)

    def solve(self, indices: range, levels: Sequence[float] | None = None) -> tuple[Tensor, Tensor]:
        """(frames [B, T, C, H, W], labels [B]) of trajectories `indices`."""
        labels = self.labels(indices)
        z = samplers.noise(self.seed, indices, self.teacher.shape, device=labels.device)
        own = labels if self.labelled else None
        chosen = self.levels if levels is None else levels
        frames = path_of(self.solver, self.teacher, z, chosen, self.wanted, target=self.target, labels=own)
        if not torch.isfinite(frames.half()).all():
            raise UserError(
                f"{self.identity['solver']} with {len(chosen) - 1} steps diverged; give more steps or another solver"
            )
        return frames, labels

    def error(self) -> dict[str, Any]:
        """Relative RMSE at each time against the same solver with four times the steps, over the first trajectories."""
        indices = range(CHECKED)
        coarse, fine = self.solve(indices)[0].double(), self.solve(indices, self.fine)[0].double()
        square = (coarse - fine).square().mean(dim=(0, 2, 3, 4)) / fine.square().mean(dim=(0, 2, 3, 4))
        against = f"{self.identity['solver']}, {len(self.fine) - 1} steps"
        return {"relative_rmse": [float(v) for v in square.sqrt()], "against": against, "trajectories": CHECKED}
