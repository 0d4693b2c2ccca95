"""The bare teacher: what every solver's call costs."""

import pytest
import torch

import samplers


@pytest.mark.benchmark(group="teacher-forward")
@pytest.mark.parametrize("batch", [1, 16])
@torch.no_grad()
def test_teacher_forward(benchmark, teacher, batch):
    z = samplers.noise(0, range(batch), teacher.shape).contiguous(memory_format=torch.channels_last)
    labels, logsnr = torch.arange(batch) % teacher.num_classes, torch.zeros(batch)
    benchmark.extra_info.update(calls=1, forwards=batch, batch=batch)
    benchmark.pedantic(teacher.network, args=(z, logsnr, labels), rounds=30, warmup_rounds=3)
