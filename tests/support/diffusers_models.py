"""Models of diffusers' families, tiny, with random weights; the sampling of its pipelines, and ours on its time grid."""

from itertools import groupby

import diffusers
import torch
from torch import Tensor

import samplers


def shaken(network: torch.nn.Module) -> torch.nn.Module:
    """Random weights everywhere, also where a fresh network has zeros, which would hide what it is told."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            scale = 0.1 if p.ndim == 1 else (p[0].numel() or 1) ** -0.5
            p.add_(scale * torch.randn(p.shape, generator=generator))
    return network.eval()


def unet(**settings):
    """A `UNet2DModel` of 3 x 8 x 8, tame: chaos would magnify float32's rounding."""
    torch.manual_seed(0)
    small = {
        "sample_size": 8,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 4,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    }
    network = shaken(diffusers.UNet2DModel(**small | settings))
    network.conv_out.weight.data.mul_(0.3)
    return network


def start(shape: tuple[int, ...], n: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def theirs(call, scheduler, z: Tensor, steps: int) -> Tensor:
    """The loop of every pipeline: call(x, t) is the network's output, the guidance and the cut of a learned variance in it."""
    scheduler.set_timesteps(steps)
    x = z * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        x = scheduler.step(call(scheduler.scale_model_input(x, t), t), t, x).prev_sample
    return x


def levels_of(scheduler, teacher: samplers.Teacher) -> list[float]:
    """The noise levels of a scheduler's grid: its own where it has some, else those of its times."""
    if hasattr(scheduler, "sigmas"):
        return [s for s, _ in groupby(map(float, scheduler.sigmas))]
    return [*(teacher.schedule.sigma(float(t)) for t in scheduler.timesteps), 0.0]


@torch.no_grad()
def ours(spec: str, teacher: samplers.Teacher, scheduler, z: Tensor, labels: Tensor | None = None) -> Tensor:
    """Our solver over the same levels, from the state that the library starts from: unit variance at its first level."""
    levels = levels_of(scheduler, teacher)
    scale = (1 + levels[0] ** 2) ** 0.5 / levels[0]
    return samplers.get(spec).integrate(teacher, z * scale, levels, labels=labels)


def dit(classes: int = 1000, **settings):
    """A `DiTTransformer2DModel` of latents 4 x 8 x 8, with a learned variance."""
    torch.manual_seed(0)
    small = {"num_attention_heads": 2, "attention_head_dim": 8, "out_channels": 8, "num_layers": 2, "sample_size": 8}
    network = shaken(diffusers.DiTTransformer2DModel(num_embeds_ada_norm=classes, **small | settings))
    network.proj_out_2.weight.data.mul_(0.3)
    return network


def autoencoder(kind: str = "AutoencoderKL", **settings):
    """Of images 3 x 16 x 16 and latents 4 x 8 x 8."""
    torch.manual_seed(1)
    small = {"block_out_channels": (8, 16), "latent_channels": 4, "norm_num_groups": 4, "sample_size": 16}
    small |= {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return shaken(getattr(diffusers, kind)(**small | settings))
