"""Training and making data in several processes, as torchrun starts them; one process needs none of it."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from samplers.errors import UserError


@dataclass(frozen=True)
class World:
    """This process among its fellows: `rank` of `size`, and its own device."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def join(cls, device: torch.device | str) -> "World":
        """Meet the processes that torchrun started (its environment variables say how many), on "cuda" each its own GPU."""
        device = torch.device(device)
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls(0, 1, device)
        if device.type == "cuda":
            local = int(os.environ["LOCAL_RANK"])
            if local >= torch.cuda.device_count():
                raise UserError(f"process {local} of this machine has no GPU of its own; lower --nproc-per-node")
            device = torch.device("cuda", local)
            torch.cuda.set_device(device)
        if not dist.is_initialized():
            # One process may solve, or validate, for hours while the others wait.
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(days=7))
        return cls(dist.get_rank(), size, device)

    def share(self, batch: int, where: str) -> None:
        """Refuse a batch that the processes cannot share evenly."""
        if batch % self.size:
            raise UserError(f"{where}: a batch of {batch} cannot be shared by {self.size} processes; choose a multiple")

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def any(self, flag: bool) -> bool:
        """Whether any process says so; all get the same answer."""
        if self.size == 1:
            return flag
        told = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(told, dist.ReduceOp.MAX)
        return bool(told)

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors (one device, one dtype) by their mean over the processes, in one exchange."""
        if self.size == 1:
            return
        tensors = list(tensors)
        flat = torch.cat([t.reshape(-1) for t in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        for t, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            t.copy_(part.view_as(t))
