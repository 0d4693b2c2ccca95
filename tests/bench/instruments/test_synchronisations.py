"""No sampler makes the host wait for the device on its way: seen on a CPU, and on a GPU that is not there."""

import copy

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import samplers
from bench.instruments.operations import Operations
from samplers import FreshNoise, Sampler, UNetTeacher
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


@pytest.mark.parametrize("name", samplers.names())
def test_no_sampler_asks_a_tensor_for_its_value(name: str, teacher: UNetTeacher):
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


@pytest.mark.parametrize("name", [n for n in samplers.names() if not card(n).training])
def test_nothing_is_copied_between_host_and_gpu_on_the_way(name: str, teacher: UNetTeacher, monkeypatch: pytest.MonkeyPatch):
    """But for the noise that stochastic samplers draw on the host, which is left out here."""
    monkeypatch.setattr(FreshNoise, "__init__", lambda self, start: setattr(self, "_like", start))
    monkeypatch.setattr(FreshNoise, "__call__", lambda self, step: torch.zeros_like(self._like))
    sampler, steps = made_ready(name, teacher)
    mode, there = FakeTensorMode(), copy.deepcopy(teacher)
    pretend(there, mode)
    with mode:
        z = torch.empty(BATCH, *teacher.shape, device="cuda")
        assert waits(sampler, there, steps, z, torch.zeros(BATCH, dtype=torch.int64, device="cuda")) == 0
