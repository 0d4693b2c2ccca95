"""The gradients of an update, of its parts and of all processes, in one of two ways.

At once: each process has its own, then one exchange of all of them. Overlapped (`DistributedDataParallel`): in buckets, while
the rest is still computed. Both give the mean over the processes.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from samplers.world import World, fellows

Loss = Callable[[nn.Module, torch.Generator, int], Tensor]


class Gradients:
    """Leaves the mean gradients in a network's parameters.

    Args:
        network: whose.
        loss: a scalar of this process's share of a part; see `samplers.training.loop.fit`.
        world: of the processes.
        overlapped: the way, of several processes.
    """

    def __init__(self, network: nn.Module, loss: Loss, world: World, overlapped: bool):
        self._world, self._parameters = world, list(network.parameters())
        self._loss: nn.Module = _Loss(network, loss)
        self._overlapped = overlapped and world.size > 1
        if self._overlapped:
            # A plug-in's loss need not use all parameters. Networks hold no buffers that an update changes.
            options = {"find_unused_parameters": True, "broadcast_buffers": False, "gradient_as_bucket_view": True}
            self._loss = DistributedDataParallel(self._loss, **options)

    def of(self, generator: torch.Generator, step: int, parts: int) -> Tensor:
        """Compute those of update `step`, a batch drawn from `generator` in `parts`; returns the mean loss.

        Raises:
            UserError: a process has ended.
        """
        value = torch.zeros((), device=self._parameters[0].device)
        for k in range(parts):
            last = k == parts - 1
            with self._alone(last):
                part = self._loss(generator, step) / parts
                with fellows() if self._overlapped and last else nullcontext():
                    part.backward()
            value = value + part.detach()
        own = [] if self._overlapped else [p.grad for p in self._parameters if p.grad is not None]
        self._world.average([value, *own])
        return value

    def _alone(self, last: bool) -> AbstractContextManager[None]:
        """Gradients are exchanged with the last part's alone."""
        return self._loss.no_sync() if self._overlapped and not last else nullcontext()


def overlaps(device: torch.device, compiled: bool) -> bool:
    """Whether an exchange while gradients are computed is taken for the faster way.

    On GPUs, where it runs beside the computation; not where the network is compiled, whose gradients all come at once, nor on
    CPUs, whose cores have both to do.
    """
    return device.type == "cuda" and not compiled


class _Loss(nn.Module):
    """A loss as a module of the network's parameters."""

    def __init__(self, network: nn.Module, loss: Loss):
        super().__init__()
        self.network, self._loss = network, loss

    def forward(self, generator: torch.Generator, step: int) -> Tensor:
        return self._loss(self.network, generator, step)
