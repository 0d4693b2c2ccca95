"""The clock against two others, on a GPU: the same pass by CUDA events, as a graph's replay, and by Triton's do_bench."""

import statistics

import pytest
import torch

import samplers
from bench.instruments.clock import Clock

BATCH = 512
"""Large enough that kernels, and not their launches, take the time."""


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.benchmark(group="clock")
@torch.no_grad()
def test_events_agree_with_a_replay_and_with_triton(benchmark):
    """Not in the test suite, for it asserts on time: 2 % between medians."""
    from triton.testing import do_bench

    device = torch.device("cuda")
    clock, teacher = Clock(device), samplers.load_teacher("mnist32", device=device)
    z = samplers.noise(0, range(BATCH), teacher.shape, device=device)
    labels = torch.arange(BATCH, device=device) % teacher.num_classes

    def run() -> None:
        teacher(z, 1.0, labels)

    for _ in range(10):
        run()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    benchmark.extra_info.update(calls=1, forwards=BATCH, batch=BATCH)
    benchmark.pedantic(lambda: clock.time(run), rounds=30, warmup_rounds=3)
    runs = {"events": run, "replay": graph.replay}
    seconds = {name: statistics.median(clock.time(f)[1].seconds for _ in range(100)) for name, f in runs.items()}
    seconds["do_bench"] = 1e-3 * do_bench(run, return_mode="median")
    benchmark.extra_info.update({f"{name}_ms": 1e3 * s for name, s in seconds.items()})
    assert seconds["events"] == pytest.approx(seconds["replay"], rel=0.02)
    assert seconds["events"] == pytest.approx(seconds["do_bench"], rel=0.02)
