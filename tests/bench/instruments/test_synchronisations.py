"""No network makes the host wait for the device: seen on a CPU, and on a GPU that is not there.

That of the solvers' own arithmetic is a check of `samplers.conformance`.
"""

import copy

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import samplers
from samplers import Sampler, UNetTeacher
from samplers.operations import Operations
from samplers.registry import card

BATCH = 2


@pytest.fixture(scope="module")
def teacher() -> UNetTeacher:
    return samplers.load_teacher("mnist32")


def made_ready(name: str, teacher: UNetTeacher) -> tuple[Sampler, int]:
    """A sampler, and steps enough to reach the last of its formulas."""
    sampler = samplers.get(name)
    steps = next(n for n in (4, 1) if sampler.card.steps is None or n in sampler.card.steps)
    sampler.prepare(teacher, torch.device("cpu"), steps)
    return sampler, steps


def waits(sampler: Sampler, teacher: nn.Module, steps: int, z: torch.Tensor, labels: torch.Tensor) -> int:
    with torch.no_grad(), Operations() as operations:
        sampler.sample(teacher, z, steps=steps, labels=labels)
    return operations.synchronisations


@pytest.mark.parametrize("name", ["ddim", *(n for n in samplers.names() if card(n).training)])
def test_no_network_asks_a_tensor_for_its_value(name: str, teacher: UNetTeacher):
    sampler, steps = made_ready(name, teacher)
    z, labels = samplers.noise(0, range(BATCH), teacher.shape), torch.arange(BATCH)
    assert waits(sampler, teacher, steps, z, labels) == 0


def pretend(network: nn.Module, mode: FakeTensorMode) -> None:
    """Move a network to a GPU that is not there: tensors without values, which know their device."""
    with mode:
        for module in network.modules():
            for key, p in module._parameters.items():
                if p is not None:
                    fake = torch.empty(p.shape, dtype=p.dtype, device="cuda")
                    module._parameters[key] = nn.Parameter(fake, requires_grad=False)
            for key, b in module._buffers.items():
                if b is not None:
                    module._buffers[key] = torch.empty(b.shape, dtype=b.dtype, device="cuda")


def test_nothing_is_copied_between_host_and_gpu_on_the_way(teacher: UNetTeacher):
    sampler, steps = made_ready("ddim", teacher)
    mode, there = FakeTensorMode(), copy.deepcopy(teacher)
    pretend(there, mode)
    with mode:
        z = torch.empty(BATCH, *teacher.shape, device="cuda")
        assert waits(sampler, there, steps, z, torch.zeros(BATCH, dtype=torch.int64, device="cuda")) == 0
