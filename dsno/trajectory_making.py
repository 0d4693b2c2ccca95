"""`bench train trajectories`: solve the teacher's probability-flow ODE for many noises and keep the wanted time points."""

import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator
from rich.progress import track
from torch import Tensor

import samplers
from dsno.times import TIME_GRIDS, time_points
from dsno.trajectories import MANIFEST, shard_name
from samplers.errors import UserError, clipped
from samplers.files import sha256, write_json
from samplers.models.unet_teacher import UNetTeacher, load_unet_teacher
from samplers.models.weights import load_tensors, save_tensors
from samplers.schedule import sigmas
from samplers.settings import Settings, checked
from samplers.solvers.paths import TARGETS, levels_through, path_of
from samplers.time_limit import stop_in_time
from samplers.training.precision import reproducible_float32, use_all_cores
from samplers.training.recipe import one_of, read_recipe
from samplers.training.trainer import Trainer
from samplers.world import World

SECONDS = "seconds.jsonl"
"""What each shard took, one JSON object a line: {file, seconds}."""
CHECKED = 64
"""Trajectories whose error against a solution with four times the steps is stated in the manifest."""


SHARDS = 10**5
"""The most of them: their names have five digits."""


def _has_paths(spec: str) -> None:
    solver = samplers.get(spec)
    if not isinstance(solver, samplers.Solver) or not solver.card.deterministic:
        raise UserError(f"{clipped(spec)} has no trajectory that is a function of the noise; name a deterministic solver")


class PathsRecipe(Settings):
    """How trajectories are solved for."""

    solver: Annotated[str, checked(_has_paths)] = Field(description="any deterministic one")
    steps: int = Field(ge=1, le=10**5, description="of the solver")
    target: Annotated[str, one_of("target", TARGETS)] = Field(
        description="what is kept: `x0`, the teacher's prediction along the path, or `state`, the noisy state"
    )
    grids: dict[Annotated[str, one_of("grid", TIME_GRIDS)], Annotated[int, Field(ge=1, le=1000)]] = Field(
        min_length=1, description="points of each time grid; those of all are kept"
    )
    seed: int = Field(ge=0, le=10**18, description="of the noises")
    labels: Literal["balanced", "none"] = Field(description="`balanced`: class i mod K for trajectory i")
    batch: int = Field(ge=1, le=2**20, description="trajectories solved for at once")


class TrajectoriesRecipe(PathsRecipe):
    """The section `trajectories` of a recipe."""

    teacher: str = Field(min_length=1, description="the teacher's name, or the path of its card")
    count: int = Field(ge=1, le=10**9, description="how many")
    shard: int = Field(ge=1, description="trajectories in a file")

    @model_validator(mode="after")
    def _few_shards(self) -> Self:
        if self.count > SHARDS * self.shard:
            raise ValueError(f"shard: {self.count} trajectories are more than {SHARDS} files; put more into each")
        return self


class TrajectoryMaking(Trainer):
    """The trajectories of the section `trajectories`, from the teacher alone; `train` returns the path of the manifest.

    Under torchrun each process makes every n-th shard. A shard that is there and whole is kept.
    """

    section, Recipe = "trajectories", TrajectoriesRecipe

    @classmethod
    def train(
        cls, recipe: str | Path, data: Path | None, out: Path, *, device: torch.device | str = "cpu", quiet: bool = False
    ) -> Path:
        use_all_cores()
        reproducible_float32()
        r = TrajectoriesRecipe.of(cls.section_of(read_recipe(recipe)))
        world = World.join(device)
        teacher = load_unet_teacher(r.teacher, device=world.device)
        maker = Maker(teacher, r)
        shards = [range(a, min(a + r.shard, r.count)) for a in range(0, r.count, r.shard)]
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
            manifest = {"kind": "trajectories", **maker.identity, "count": r.count, "error": maker.error(), "shards": files}
            write_json(out / MANIFEST, manifest)
        world.wait()
        return out / MANIFEST


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

    def __init__(self, teacher: UNetTeacher, r: PathsRecipe):
        self.teacher, self.batch = teacher, r.batch
        solver = samplers.get(r.solver)
        assert isinstance(solver, samplers.Solver)
        self.solver, self.target, self.seed = solver, r.target, r.seed
        self.labelled = r.labels == "balanced" and teacher.num_classes > 0
        self.times = sorted({t for grid, m in r.grids.items() for t in time_points(grid, m)}, reverse=True)
        self.wanted = [teacher.schedule.sigma(t) if t > 0 else 0.0 for t in self.times]
        self.levels, self.fine = (
            levels_through(sigmas(teacher.schedule, n, solver.grid), self.wanted) for n in (r.steps, 4 * r.steps)
        )
        self.identity = {
            "teacher": {"name": teacher.name, "sha256": teacher.sha256},
            "solver": r.solver,
            "solver_grid": solver.grid,
            "steps": r.steps,
            "calls": solver.calls_between(len(self.levels) - 2) + 1,
            "target": self.target,
            "grids": r.grids,
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
