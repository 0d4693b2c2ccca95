"""Trajectories of the teacher's probability-flow ODE on disk: what DSNO learns from.

A folder of `shard-NNNNN.safetensors` (frames, T time points of each trajectory, and labels) and `trajectories.json`, the
manifest, which says whose they are and lists every shard with its hash. The noise is not stored: trajectory i of a seed starts
from noise i of that seed (`samplers.noise`).
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

import samplers
from samplers.errors import UserError
from samplers.files import sha256
from samplers.training.data import RESIDENT

MANIFEST = "trajectories.json"
CLOSE = 1e-6  # in t
KEYS = {"teacher", "solver", "steps", "calls", "grids", "target", "times", "seed", "labels", "shape", "shards"}
"""What a manifest must tell."""


def shard_name(k: int) -> str:
    """The file of shard k."""
    return f"shard-{k:05d}.safetensors"


class Trajectories:
    """A folder of trajectories, opened for a student.

    Args:
        folder: with the manifest and the shards.
        teacher_sha256: of the student's teacher.
        times: that the student predicts; each must be among those stored.
        target: "x0" (the teacher's prediction of the image along the path) or "state" (the noisy state itself).
        count: use only the first so many (None: all).
        verify: check every shard's hash.

    Raises:
        UserError: no manifest; a shard missing, truncated or altered; another teacher, target or time points; too few.
    """

    def __init__(
        self,
        folder: Path,
        teacher_sha256: str | None,
        times: Sequence[float],
        target: str = "x0",
        count: int | None = None,
        *,
        verify: bool = True,
    ):
        self.manifest = read_manifest(folder)
        self.sha256 = sha256(folder / MANIFEST)
        m = self.manifest
        try:
            if m["teacher"]["sha256"] != teacher_sha256:
                raise UserError(
                    f"{folder} holds trajectories of teacher {m['teacher']['name']} ({str(m['teacher']['sha256'])[:12]}...), "
                    f"the student's is {str(teacher_sha256)[:12]}...; make them again with 'bench train trajectories'"
                )
            if m["target"] != target:
                raise UserError(f"{folder} holds target '{m['target']}', the recipe wants '{target}'; make them again")
            self.columns = [_column(m["times"], t, folder) for t in times]
            self.seed, self.shape = int(m["seed"]), tuple(m["shape"])
            shards, total = m["shards"], sum(s["count"] for s in m["shards"])
            self.length = total if count is None else count
            if not 0 < self.length <= total:
                raise UserError(f"{folder} holds {total} trajectories, the recipe wants {self.length}; make more of them")
            self._shard = shards[0]["count"]
            self._files = []
            self._kept: tuple[Tensor, Tensor, Tensor] | None = None
            for s in shards[: -(-self.length // self._shard)]:
                path = folder / s["file"]
                if not path.is_file():
                    raise UserError(f"{path} is missing; run 'bench train trajectories' again, it makes what is not there")
                if verify and sha256(path) != s["sha256"]:
                    raise UserError(f"{path} is not the file that was written (SHA-256 differs); remove it and make it again")
                self._files.append(safe_open(path, framework="pt"))
        except (SafetensorError, OSError) as e:
            raise UserError(
                f"{folder}: a shard cannot be read ({e}); remove it and run 'bench train trajectories' again"
            ) from e
        except (KeyError, TypeError, IndexError) as e:
            raise UserError(f"{folder / MANIFEST} lacks a key or has a wrong one: {e}; make the trajectories again") from e

    def __len__(self) -> int:
        return self.length

    def near(self, device: torch.device) -> None:
        """Load all of it to a device, which is then asked instead of the disk, unless it would take much of its memory."""
        n = self.length
        if n * (2 * len(self.columns) + 4) * math.prod(self.shape) > RESIDENT:
            return
        frames = [f.get_slice("frames")[:][:, self.columns] for f in self._files]
        labels = [f.get_tensor("labels") for f in self._files]
        noise = samplers.noise(self.seed, range(n), self.shape)
        self._kept = (noise.to(device), torch.cat(frames)[:n].to(device), torch.cat(labels)[:n].to(device))

    def noise(self, indices: Sequence[int]) -> Tensor:
        """Where trajectories `indices` start: [B, C, H, W]."""
        if self._kept is not None:
            return self._kept[0][self._chosen(indices)]
        return samplers.noise(self.seed, indices, self.shape)

    def _chosen(self, indices: Sequence[int]) -> Tensor:
        """Indices near the trajectories kept there; a device does not wait for them."""
        assert self._kept is not None
        return torch.as_tensor(list(indices)).to(self._kept[0].device, non_blocking=True)

    def frames(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(frames float32 [B, M, C, H, W] at the student's times, labels int64 [B])."""
        if self._kept is not None:
            chosen = self._chosen(indices)
            return self._kept[1][chosen].float(), self._kept[2][chosen]
        frames, labels = [], []
        for i in indices:
            k, row = divmod(int(i), self._shard)
            frames.append(self._files[k].get_slice("frames")[row : row + 1][:, self.columns])
            labels.append(self._files[k].get_slice("labels")[row : row + 1])
        return torch.cat(frames).float(), torch.cat(labels)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder of trajectories.

    Raises:
        UserError: none there, or not one.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(
            f"no trajectories in {folder}; make them with 'bench train trajectories', or say where with --data"
        ) from None
    except (OSError, ValueError) as e:
        raise UserError(f"{path} cannot be read ({e}); make the trajectories again") from e
    if not isinstance(manifest, dict) or manifest.get("kind") != "trajectories":
        raise UserError(f"{path} is not a manifest of trajectories")
    if lacking := sorted(KEYS - manifest.keys()):
        raise UserError(f"{path} lacks {', '.join(lacking)}; make the trajectories again")
    return manifest


def _column(stored: Sequence[float], t: float, folder: Path) -> int:
    for i, s in enumerate(stored):
        if abs(s - t) < CLOSE:
            return i
    have = ", ".join(f"{s:g}" for s in stored)
    raise UserError(
        f"{folder} holds the times {have}, the student needs {t:g} too; add its grid to the recipe and make them again"
    )
