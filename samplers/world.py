"""Work in several processes, as torchrun starts them; one process needs none of it."""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from samplers.errors import UserError, one_line

LOOK = 0.2
"""Seconds between two looks at what others do."""


@dataclass(frozen=True)
class World:
    """This process among its fellows: `rank` of `size`, and its own device."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def join(cls, device: torch.device | str, *, gradients: bool = True) -> "World":
        """Meet the processes that torchrun started (its environment variables say how many), on "cuda" each its own GPU.

        Args:
            device: of their work.
            gradients: whether they exchange tensors of it; else a process that waits leaves its GPU alone.

        Raises:
            UserError: variables that no launcher sets so, a process without a GPU of its own, or fellows that do not come.
        """
        device = torch.device(device)
        size = told("WORLD_SIZE", 1, low=1)
        if size == 1:
            return cls(0, 1, device)
        if told("RANK") >= size:
            raise UserError(f"RANK is {told('RANK')} of WORLD_SIZE {size} processes; start them with torchrun")
        told("MASTER_PORT")
        if "MASTER_ADDR" not in os.environ:
            raise _no_launcher("MASTER_ADDR", "not set")
        if device.type == "cuda":
            local = told("LOCAL_RANK")
            if local >= torch.cuda.device_count():
                raise UserError(f"process {local} of this machine has no GPU of its own; lower --nproc-per-node")
            device = torch.device("cuda", local)
            torch.cuda.set_device(device)
        if not dist.is_initialized():
            # One process may solve, or validate, for hours while the others wait.
            try:
                dist.init_process_group("nccl" if device.type == "cuda" and gradients else "gloo", timeout=timedelta(days=7))
            except (RuntimeError, ValueError) as e:
                raise UserError(f"the {size} processes of this command do not meet: {one_line(e)}") from e
        return cls(dist.get_rank(), size, device)

    def share(self, batch: int, where: str) -> None:
        """Refuse a batch that the processes cannot share evenly."""
        if batch % self.size:
            raise UserError(f"{where}: a batch of {batch} cannot be shared by {self.size} processes; choose a multiple")

    def wait(self, meanwhile: Callable[[], None] | None = None) -> None:
        """Until all processes are here; `meanwhile` is called now and then."""
        if self.size == 1:
            return
        with fellows():
            if meanwhile is None:
                dist.barrier()
                return
            work = dist.barrier(async_op=True)
            while not work.is_completed():
                meanwhile()
                time.sleep(LOOK)
            work.wait()

    def any(self, flag: bool) -> bool:
        """Whether any process says so; all get the same answer."""
        if self.size == 1:
            return flag
        told = torch.tensor(float(flag), device=self.device)
        with fellows():
            dist.all_reduce(told, dist.ReduceOp.MAX)
        return bool(told)

    def gather(self, value: Any) -> list[Any]:
        """What each process says, as far as JSON can hold it, in the order of their ranks; all get the same."""
        if self.size == 1:
            return [value]
        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        sizes = torch.zeros(self.size, dtype=torch.long)
        sizes[self.rank] = len(text)
        with fellows():
            dist.all_reduce(sizes)
            texts = torch.zeros(self.size, int(sizes.max()), dtype=torch.uint8)
            texts[self.rank, : len(text)] = text
            dist.all_reduce(texts)
        return [json.loads(bytes(t[:n].tolist())) for t, n in zip(texts, sizes.tolist(), strict=True)]

    def agree(self, told: Mapping[str, Any], mend: str) -> None:
        """Refuse processes of which one does not say what the first says, as far as JSON can hold it; all but the first end.

        Raises:
            UserError: in the first process.
        """
        for rank, other in enumerate(every := self.gather(told)):
            first = every[0]
            if differs := [key for key in first.keys() | other.keys() if other.get(key) != first.get(key)]:
                if self.rank:
                    raise SystemExit(2)
                raise UserError(f"process {rank} has another {', '.join(sorted(differs))} than process 0; {mend}")

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors (one device, one dtype) by their mean over the processes, in one exchange."""
        if self.size == 1:
            return
        tensors = list(tensors)
        flat = torch.cat([t.reshape(-1) for t in tensors])
        with fellows():
            dist.all_reduce(flat)
        flat /= self.size
        for t, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            t.copy_(part.view_as(t))


def is_first() -> bool:
    """Whether this process is the first of those that torchrun started, or the only one."""
    return told("RANK", 0) == 0


@contextmanager
def fellows() -> Iterator[None]:
    """An exchange with the other processes, which all end where one has.

    Raises:
        UserError: one has ended.
    """
    try:
        yield
    except RuntimeError as e:
        if not isinstance(e, dist.DistError) and "gloo" not in str(e):  # of what is computed meanwhile
            raise
        raise UserError("a process of this command has ended; run it again to go on, with as many processes or others") from e


def told(variable: str, default: int | None = None, *, low: int = 0) -> int:
    """A whole number from a variable that torchrun sets; `default` where it is not set.

    Raises:
        UserError: not set and without a default, not a whole number, or below `low`.
    """
    text = os.environ.get(variable)
    if text is None and default is not None:
        return default
    if text is None or not text.isdecimal() or len(text) > 9 or int(text) < low:
        raise _no_launcher(variable, "not set" if text is None else f"'{one_line(text)}'")
    return int(text)


def _no_launcher(variable: str, found: str) -> UserError:
    return UserError(f"{variable} is {found}: start several processes with torchrun, or unset WORLD_SIZE for one")
