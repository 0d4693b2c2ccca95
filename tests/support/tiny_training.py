"""A training of twenty updates of a tiny network, and ways to cut it short."""

import json

import torch
from torch import nn

from samplers.training.loop import fit
from samplers.training.optimisation import Optimisation

# A checkpoint after every step: any time is longer than a negative one.
OPTIMISATION = Optimisation(
    steps=20, batch=8, learning_rate=1e-2, warmup=5, ema=0.9, checkpoint_seconds=-1.0, validate_every=6, seed=3
)
IDENTITY = {"recipe": {"name": "tiny", "widths": (4, 2)}, "data_sha256": "abc"}


class KilledError(Exception):
    pass


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 1, 3)).to(memory_format=torch.channels_last)


def loss(net: nn.Module, generator: torch.Generator, step: int = 0) -> torch.Tensor:
    x = torch.randn(8, 1, 6, 6, generator=generator)
    return (net(x) - x[:, :, 1:-1, 1:-1].abs()).square().mean()


def train(folder, *, loss=loss, optimisation=OPTIMISATION, identity=IDENTITY, **options):
    return fit(network(), loss, optimisation, folder, title="tiny", identity=identity, quiet=True, **options)


def fails_at(step: int, how):
    """The loss, until its call number `step` (from 0)."""
    calls = iter(range(10**6))

    def failing(net, generator, number):
        return how(loss(net, generator)) if next(calls) == step else loss(net, generator)

    return failing


def kill(value):
    raise KilledError


def log(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
