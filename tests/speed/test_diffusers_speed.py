"""What a pass of ours adds to bare calls of a network of diffusers: at most 2 % of one of 16 images.

Both are timed in interleaved pairs of random order; `ratio` and its 99 % interval, in a result's `extra_info`, are what counts.
The committed record, made on an idle machine:

    pytest tests/speed/test_diffusers_speed.py --benchmark-only --benchmark-json results/speed/diffusers.json
"""

import diffusers
import pytest
import torch
from timed import timed

import samplers
from bench.instruments.paired import Rule, measure

BATCH, STEPS, LIMIT = 16, 4, 1.02
RULE = Rule(effect=0.02, seconds=30.0)


@pytest.mark.benchmark(group="diffusers")
@torch.no_grad()
def test_a_pass_beside_bare_calls(benchmark, tmp_path):
    network = diffusers.UNet2DModel(
        sample_size=32,
        block_out_channels=(32, 64, 64),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )
    diffusers.DDPMPipeline(network, diffusers.DDPMScheduler()).save_pretrained(tmp_path)
    teacher, z = samplers.load_teacher(f"diffusers:{tmp_path}"), samplers.noise(0, range(BATCH), (3, 32, 32))
    solver, times = samplers.get("ddim"), [torch.full((BATCH,), t) for t in (999.0, 666.0, 333.0, 0.0)]

    def bare() -> None:
        for t in times:
            teacher.network(z, t, return_dict=False)

    def ours() -> None:
        solver.sample(teacher, z, steps=STEPS)

    found = measure({"pass": (bare, ours)}, RULE, 0, timed)["pass"].summary()
    ratio = {k: found[k] and round(found[k], 5) for k in ("ratio", "ratio_low", "ratio_high")}
    benchmark.extra_info.update(ratio, pairs=found["pairs"], limit=LIMIT, calls=STEPS, forwards=STEPS * BATCH, batch=BATCH)
    benchmark.pedantic(ours, rounds=3)
