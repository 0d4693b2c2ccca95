"""The U-Nets of EDM's checkpoints: DDPM++ and NCSN++ (`SongUNet`), ADM (`DhariwalUNet`).

Sources: Karras et al., arXiv 2206.00364 (appendix F, table 7); of DDPM++ and NCSN++ Song et al., arXiv 2011.13456 (appendix H);
of ADM Dhariwal & Nichol, arXiv 2105.05233 (section 3). Parameters have the original names; there is no dropout, since none is
trained here.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samplers.models.foreign.layers import Resample, ascend, attend, kernel_of, one_hot, resample, side_by_side, trunk, waves
from samplers.models.foreign.sizes import DhariwalSizes, SongSizes


def norm(channels: int, eps: float = 1e-5) -> nn.GroupNorm:
    """Group normalisation: 32 groups, or fewer of four channels each."""
    return nn.GroupNorm(max(min(32, channels // 4), 1), channels, eps=eps)


class Conv(nn.Module):
    """A convolution after doubling, or before or after halving, the resolution; `size` 0 resamples only.

    `fused`: it convolves before it halves, with the border that the filter needs.
    """

    resample_filter: Tensor

    def __init__(
        self, inputs: int, outputs: int, size: int, way: Resample = None, kernel: tuple[int, ...] = (1, 1), fused: bool = False
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, size, size)) if size else None
        self.bias = nn.Parameter(torch.empty(outputs)) if size else None
        self.way, self.size, self.fused = way, size, fused
        if way:
            self.register_buffer("resample_filter", kernel_of(kernel))

    def forward(self, x: Tensor) -> Tensor:
        if self.fused:
            border = (self.resample_filter.shape[-1] - 1) // 2
            x = F.conv2d(x, self.weight, padding=self.size // 2 + border)  # type: ignore[arg-type]
            x = resample(x, self.resample_filter, self.way, bordered=True)
            return x + self.bias[:, None, None]  # type: ignore[index]
        if self.way:
            x = resample(x, self.resample_filter, self.way)
        return x if self.weight is None else F.conv2d(x, self.weight, self.bias, padding=self.size // 2)


@dataclass(frozen=True)
class Style:
    """What distinguishes the blocks of one network from those of another.

    Attributes:
        embedding: channels of the embedding.
        film: it scales and shifts, or is added before the second normalisation.
        head_width: channels of an attention head; 0: there is one head.
        projects: the side path has a convolution wherever it resamples, or only where channels change.
        scale: of the sum of both paths.
        eps: of the normalisations.
        kernel: of the filter that resamples.
    """

    embedding: int
    film: bool
    head_width: int
    projects: bool
    scale: float
    eps: float
    kernel: tuple[int, ...] = (1, 1)


class Block(nn.Module):
    """A residual block, with attention after it where it `attends`."""

    def __init__(self, style: Style, inputs: int, outputs: int, *, way: Resample = None, attends: bool = False):
        super().__init__()
        self.style = style
        self.norm0 = norm(inputs, style.eps)
        self.conv0 = Conv(inputs, outputs, 3, way, style.kernel)
        self.affine = nn.Linear(style.embedding, outputs * (2 if style.film else 1))
        self.norm1 = norm(outputs, style.eps)
        self.conv1 = Conv(outputs, outputs, 3)
        changes = inputs != outputs
        self.skip = None
        if changes or way:
            self.skip = Conv(inputs, outputs, 1 if changes or style.projects else 0, way, style.kernel)
        self.heads = (outputs // style.head_width if style.head_width else 1) if attends else 0
        if attends:
            self.norm2 = norm(outputs, style.eps)
            self.qkv = Conv(outputs, 3 * outputs, 1)
            self.proj = Conv(outputs, outputs, 1)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        h = self.conv0(F.silu(self.norm0(x)))
        told = self.affine(e)[:, :, None, None]
        if self.style.film:
            scale, shift = told.chunk(2, dim=1)
            h = torch.addcmul(shift, self.norm1(h), 1 + scale)
        else:
            h = self.norm1(h + told)
        x = (self.conv1(F.silu(h)) + (x if self.skip is None else self.skip(x))) * self.style.scale
        if not self.heads:
            return x
        b, c, *pixels = x.shape
        q, k, v = self.qkv(self.norm2(x)).reshape(b, self.heads, c // self.heads, 3, -1).unbind(3)
        return (self.proj(attend(q, k, v).reshape(b, c, *pixels)) + x) * self.style.scale


class Fourier(nn.Module):
    """cos and sin of times by random frequencies, which are weights."""

    freqs: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("freqs", torch.empty(channels // 2))

    def forward(self, times: Tensor) -> Tensor:
        angles = times.float()[:, None] * (2 * math.pi * self.freqs)
        return torch.cat([angles.cos(), angles.sin()], dim=1)


class SongUNet(nn.Module):
    """`network(x, noise, labels=None)`: x [B, C, H, W], noise [B] (what its preconditioning tells it of it).

    Labels int64 [B] if there are classes; one that is no class is the zero vector.
    """

    def __init__(self, sizes: SongSizes):
        super().__init__()
        self.sizes = sizes
        times, embedding = sizes.width * sizes.time_multiplier, sizes.width * sizes.embedding_multiplier
        self.times = times
        self.map_noise = Fourier(times) if sizes.time == "fourier" else None
        self.map_label = nn.Linear(sizes.classes, times) if sizes.classes else None
        self.map_augment = nn.Linear(sizes.augmentation, times, bias=False) if sizes.augmentation else None
        self.map_layer0 = nn.Linear(times, embedding)
        self.map_layer1 = nn.Linear(embedding, embedding)
        block = partial(Block, Style(embedding, False, 0, True, math.sqrt(0.5), 1e-6, sizes.kernel))
        entry = Conv(sizes.channels, sizes.width, 3)
        self.enc, self.dec = trunk(sizes, sizes.width, entry, block, block, last_attends=True)
        seen, size = sizes.channels, sizes.image_size
        for level, width in enumerate(sizes.widths[:-1] if sizes.residual_input else [], 1):
            name = f"{size >> level}x{size >> level}_aux_residual"
            self.enc[name] = Conv(seen, width, 3, "down", sizes.kernel, fused=True)
            seen = width
        self.dec[f"{size}x{size}_aux_norm"] = norm(sizes.widths[0], 1e-6)
        self.dec[f"{size}x{size}_aux_conv"] = Conv(sizes.widths[0], sizes.outputs, 3)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        x = image = x.to(self.map_layer0.weight.dtype)
        e = waves(noise, self.times, endpoint=True) if self.map_noise is None else self.map_noise(noise)
        e = torch.cat(e.chunk(2, dim=1)[::-1], dim=1).to(x.dtype)  # sin before cos
        if self.map_label is not None:
            e = e + self.map_label(one_hot(labels, self.sizes.classes, x.dtype) * math.sqrt(self.sizes.classes))
        e = F.silu(self.map_layer1(F.silu(self.map_layer0(e))))
        skips = []
        for name, layer in self.enc.items():
            if "aux" in name:
                continue
            x = layer(x) if name.endswith("conv") else layer(x, e)
            if name.endswith("down") and self.sizes.residual_input:
                x = image = (x + self.enc[name.replace("down", "aux_residual")](image)) / math.sqrt(2)
            skips.append(x)
        *ways, (_, last_norm), (_, last_conv) = self.dec.items()
        x = ascend(ways, x, e, skips, side_by_side)
        return last_conv(F.silu(last_norm(x)))


class DhariwalUNet(nn.Module):
    """As `SongUNet`."""

    def __init__(self, sizes: DhariwalSizes):
        super().__init__()
        self.sizes = sizes
        embedding = sizes.width * sizes.embedding_multiplier
        self.map_augment = nn.Linear(sizes.augmentation, sizes.width, bias=False) if sizes.augmentation else None
        self.map_layer0 = nn.Linear(sizes.width, embedding)
        self.map_layer1 = nn.Linear(embedding, embedding)
        self.map_label = nn.Linear(sizes.classes, embedding, bias=False) if sizes.classes else None
        block, first = partial(Block, Style(embedding, True, 64, False, 1.0, 1e-5)), sizes.widths[0]
        self.enc, self.dec = trunk(sizes, first, Conv(sizes.channels, first, 3), block, block)
        self.out_norm = norm(first)
        self.out_conv = Conv(first, sizes.outputs, 3)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        x = x.to(self.map_layer0.weight.dtype)
        e = self.map_layer1(F.silu(self.map_layer0(waves(noise, self.sizes.width).to(x.dtype))))
        if self.map_label is not None:
            e = e + self.map_label(one_hot(labels, self.sizes.classes, x.dtype))
        e, skips = F.silu(e), []
        for name, layer in self.enc.items():
            x = layer(x) if name.endswith("conv") else layer(x, e)
            skips.append(x)
        x = ascend(self.dec.items(), x, e, skips, side_by_side)
        return self.out_conv(F.silu(self.out_norm(x)))
