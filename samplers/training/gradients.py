"""The gradients of an update, of its parts and of all processes, in one of two ways.

At once: each process has its own, then one exchange of all of them. Overlapped (`DistributedDataParallel`): in buckets, while
the rest is still computed. Both give the mean over the processes.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

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
        overlapped: the way, of several processes: from the second update on, of a loss that uses all parameters.
    """

    def __init__(self, network: nn.Module, loss: Loss, world: World, overlapped: bool):
        self._world, self._parameters = world, list(network.parameters())
        self._alone, self._wanted = _Loss(network, loss), overlapped and world.size > 1
        self._together: DistributedDataParallel | None = None

    @property
    def overlapped(self) -> bool:
        """Whether they are now."""
        return self._together is not None

    def of(self, generator: torch.Generator, step: int, parts: int) -> Tensor:
        """Compute those of update `step`, a batch drawn from `generator` in `parts`; returns the mean loss.

        Raises:
            UserError: a process has ended.
        """
        loss, value = self._together or self._alone, torch.zeros((), device=self._parameters[0].device)
        for k in range(parts):
            exchanged = loss is self._together and k == parts - 1  # with the last part's alone
            with loss.no_sync() if loss is self._together and not exchanged else nullcontext():
                part = loss(generator, step) / parts
                with fellows() if exchanged else nullcontext():
                    part.backward()
            value = value + part.detach()
        own = [p.grad for p in self._parameters if p.grad is not None]
        self._world.average([value] if loss is self._together else [value, *own])
        if self._wanted:  # `DistributedDataParallel` waits for each parameter's gradient
            self._wanted = False
            if not self._world.any(len(own) < len(self._parameters)):
                self._together = DistributedDataParallel(self._alone, gradient_as_bucket_view=True)
        return value


def overlaps(device: torch.device, compiled: bool) -> bool:
    """Whether an exchange while gradients are computed is taken for the faster way.

    On GPUs, where it runs beside the computation; not where the network is compiled, whose gradients all come at once, nor on
    CPUs, whose cores have both to do.
    """
    return device.type == "cuda" and not compiled


class _Loss(nn.Module):
    """A loss as a module of the network's parameters; of its buffers nothing is exchanged."""

    def __init__(self, network: nn.Module, loss: Loss):
        super().__init__()
        self.held, self._loss = nn.ParameterList(network.parameters()), partial(loss, network)

    def forward(self, generator: torch.Generator, step: int) -> Tensor:
        return self._loss(generator, step)
