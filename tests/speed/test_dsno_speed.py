"""DSNO's temporal layer in its three forms, and its one pass against as many teacher forwards."""

import pytest
import torch

import samplers
from dsno.network import DSNOConfig, from_teacher, logsnr_at
from dsno.temporal import FORMS, TemporalLayer

POINTS = 4


@pytest.mark.benchmark(group="temporal-layer")
@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_temporal_layer(benchmark, form):
    """32 trajectories of 4 points, 64 channels, 16 x 16."""
    layer = TemporalLayer(64, POINTS, 2, form).eval()
    layer.fold()
    u = torch.randn(32 * POINTS, 64, 16, 16).contiguous(memory_format=torch.channels_last)
    benchmark.extra_info.update(calls=0, forwards=0, batch=32)
    benchmark.pedantic(layer, args=(u,), rounds=20, warmup_rounds=3)


@pytest.mark.benchmark(group="one-pass")
@pytest.mark.parametrize("what", ["dsno", "teacher"])
@torch.no_grad()
def test_one_pass(benchmark, what):
    """The image from one DSNO call at batch 16, against a teacher call at batch 64: the same effective batch."""
    teacher = samplers.load_teacher("mnist32")
    batch = 16
    labels = torch.arange(batch) % 10
    benchmark.extra_info.update(calls=1, forwards=batch * POINTS, batch=batch if what == "dsno" else batch * POINTS)
    if what == "teacher":
        z = samplers.noise(0, range(batch * POINTS), teacher.shape).contiguous(memory_format=torch.channels_last)
        many = labels.repeat_interleave(POINTS)
        benchmark.pedantic(teacher.network, args=(z, torch.zeros(len(z)), many), rounds=20, warmup_rounds=3)
        return
    network = from_teacher(teacher, DSNOConfig(points=POINTS)).eval().fold()
    logsnr = logsnr_at(teacher.schedule, network.operator.times()).expand(batch, -1)
    z = samplers.noise(0, range(batch), teacher.shape).contiguous(memory_format=torch.channels_last)
    benchmark.pedantic(lambda: network(z, logsnr, labels, image_only=True), rounds=20, warmup_rounds=3)
