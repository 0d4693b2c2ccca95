"""Trajectories that no student trains on, to score one while it trains."""

import json
from pathlib import Path

import torch
from torch import Tensor, nn

import samplers
from dsno.trajectories import Trajectories
from dsno.trajectory_making import Maker, PathsRecipe
from samplers.errors import UserError
from samplers.models.unet_teacher import UNetTeacher
from samplers.models.weights import load_tensors, save_tensors
from samplers.training.recipe import HeldOutNoises
from samplers.world import World


class HeldOutPaths:
    """Trajectories to score a student on: noise [N, C, H, W], frames [N, M, C, H, W] and labels [N], on one device."""

    def __init__(self, noise: Tensor, frames: Tensor, labels: Tensor):
        self.noise, self.frames, self.labels = noise, frames, labels

    @classmethod
    def make(
        cls, paths: Trajectories, teacher: UNetTeacher, wanted: HeldOutNoises, times: list[float], world: World, folder: Path
    ) -> "HeldOutPaths":
        """Solve `wanted.count` trajectories of other noises, as those trained on were; `folder` keeps them."""
        kept = folder / "held_out.safetensors"
        m = paths.manifest
        if wanted.seed == m["seed"]:
            raise UserError(f"held_out: seed {wanted.seed} is that of the trajectories trained on; choose another")
        same = {k: m[k] for k in ("solver", "steps", "grids", "target", "labels")}
        maker = Maker(teacher, PathsRecipe(**same, seed=wanted.seed, batch=64))
        indices = range(wanted.count)
        stamp = json.loads(json.dumps({**maker.identity, "count": wanted.count}))
        tensors: dict[str, Tensor] = {}
        if kept.exists():
            try:
                tensors, info = load_tensors(kept)
                tensors = tensors if info == stamp else {}
            except UserError:
                pass  # cut short: made again
        if not tensors:
            parts = [maker.solve(range(a, min(a + 64, indices.stop))) for a in range(0, indices.stop, 64)]
            tensors = {"frames": torch.cat([f for f, _ in parts]), "labels": torch.cat([n for _, n in parts])}
            if world.rank == 0:
                save_tensors(kept, tensors, stamp)
        columns = [min(range(len(maker.times)), key=lambda n: abs(maker.times[n] - t)) for t in times]
        device = next(teacher.parameters()).device
        z = samplers.noise(wanted.seed, indices, teacher.shape, device=device)
        return cls(z, tensors["frames"][:, columns].to(device), tensors["labels"].to(device))

    @classmethod
    def first(cls, paths: Trajectories, count: int) -> "HeldOutPaths":
        """The first trajectories of those trained on, to tell learning from memorising."""
        chosen = range(min(count, len(paths)))
        frames, labels = paths.frames(chosen)
        return cls(paths.noise(chosen), frames, labels)

    @torch.no_grad()
    def squared_error(self, network: nn.Module, logsnr: Tensor) -> Tensor:
        """Mean squared error of each trajectory at each time, float64 [N, M]."""
        device, found = logsnr.device, []
        for z, frames, labels in zip(self.noise.split(64), self.frames.split(64), self.labels.split(64), strict=True):
            predicted = network(z.to(device), logsnr.expand(len(z), -1), labels.to(device))
            found.append((predicted - frames.to(device)).double().square().mean(dim=(2, 3, 4)))
        return torch.cat(found)

    def error(self, network: nn.Module, logsnr: Tensor) -> list[float]:
        """Relative RMSE at each time: root of the mean squared error over the mean square of the true frames."""
        scale = self.frames.double().square().mean(dim=(0, 2, 3, 4))
        return [float(v) for v in (self.squared_error(network, logsnr).mean(dim=0).cpu() / scale.cpu()).sqrt()]
