"""EDM2's magnitude-preserving U-Net: Karras et al., arXiv 2312.02696 (section 2, appendix B; configuration G).

Every layer keeps the expected magnitude of what passes: weights are normalised where they are used, sums and concatenations
weighted, SiLU divided by its own magnitude. There are no biases and no group normalisations.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samplers.models.foreign.layers import Resample, ascend, attend, one_hot, trunk
from samplers.models.foreign.sizes import EDM2Sizes


def unit(x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """x over its root mean square along `dim`, with 1e-4 against zeros."""
    size = torch.linalg.vector_norm(x, dim=dim, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
    return x / (1e-4 + size / math.sqrt(x.numel() / size.numel())).to(x.dtype)


def silu(x: Tensor) -> Tensor:
    """SiLU of unit magnitude for normal x (equation 81)."""
    return F.silu(x) / 0.596


def mix(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Weighted sum of unit magnitude (equation 88)."""
    return a.lerp(b, t) / math.hypot(1 - t, t)


def join(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Channels of both, to whose magnitude each contributes by its weight, however many it has (equation 103)."""
    n, m = a.shape[1], b.shape[1]
    c = math.sqrt((n + m) / ((1 - t) ** 2 + t**2))
    return torch.cat([a * (c * (1 - t) / math.sqrt(n)), b * (c * t / math.sqrt(m))], dim=1)


class Weight(nn.Module):
    """A convolution (`size` 1 or 3) or a dense layer (0) by rows of unit norm (equation 47 and 66)."""

    def __init__(self, inputs: int, outputs: int, size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *((size, size) if size else ())))
        self.size, self.fan_in = size, inputs * max(size, 1) ** 2

    def forward(self, x: Tensor, gain: Tensor | float = 1.0) -> Tensor:
        w = unit(self.weight, tuple(range(1, self.weight.ndim))) * (gain / math.sqrt(self.fan_in))
        return F.conv2d(x, w.to(x.dtype), padding=self.size // 2) if self.size else x @ w.to(x.dtype).t()


class Fourier(nn.Module):
    """cos of times by random frequencies and phases, of unit magnitude (equation 75); both are weights."""

    freqs: Tensor
    phases: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("freqs", torch.empty(channels))
        self.register_buffer("phases", torch.empty(channels))

    def forward(self, times: Tensor) -> Tensor:
        return (times.float()[:, None] * self.freqs.float() + self.phases.float()).cos() * math.sqrt(2)


class Block(nn.Module):
    """A residual block of the way down or `rising`, with attention after it where it `attends` (figure 21)."""

    def __init__(
        self,
        sizes: EDM2Sizes,
        embedding: int,
        rising: bool,
        inputs: int,
        outputs: int,
        *,
        way: Resample = None,
        attends: bool = False,
    ):
        super().__init__()
        self.sizes, self.rising, self.way = sizes, rising, way
        self.emb_gain = nn.Parameter(torch.empty([]))
        self.conv_res0 = Weight(inputs if rising else outputs, outputs, 3)
        self.emb_linear = Weight(embedding, outputs, 0)
        self.conv_res1 = Weight(outputs, outputs, 3)
        self.conv_skip = Weight(inputs, outputs, 1) if inputs != outputs else None
        self.heads = outputs // sizes.head_width if attends else 0
        if attends:
            self.attn_qkv = Weight(outputs, 3 * outputs, 1)
            self.attn_proj = Weight(outputs, outputs, 1)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        if self.way:
            x = F.avg_pool2d(x, 2) if self.way == "down" else F.interpolate(x, scale_factor=2.0, mode="nearest")
        if not self.rising:
            x = unit(x if self.conv_skip is None else self.conv_skip(x), 1)
        told = self.emb_linear(e, self.emb_gain) + 1
        h = silu(self.conv_res0(silu(x)) * told[:, :, None, None].to(x.dtype))
        if self.rising and self.conv_skip is not None:
            x = self.conv_skip(x)
        x = mix(x, self.conv_res1(h), self.sizes.residual_balance)
        if self.heads:
            b, c, *pixels = x.shape
            qkv = self.attn_qkv(x).reshape(b, self.heads, c // self.heads, 3, -1)
            q, k, v = unit(qkv, 2).unbind(3)
            x = mix(x, self.attn_proj(attend(q, k, v).reshape(b, c, *pixels)), self.sizes.attention_balance)
        return x if self.sizes.clip is None else x.clip(-self.sizes.clip, self.sizes.clip)


class EDM2UNet(nn.Module):
    """`network(x, noise, labels=None)`, as the other networks here."""

    def __init__(self, sizes: EDM2Sizes):
        super().__init__()
        self.sizes = sizes
        times, embedding = sizes.time_width or sizes.widths[0], sizes.embedding_width or max(sizes.widths)
        self.out_gain = nn.Parameter(torch.empty([]))
        self.emb_fourier = Fourier(times)
        self.emb_noise = Weight(times, embedding, 0)
        self.emb_label = Weight(sizes.classes, embedding, 0) if sizes.classes else None
        first = sizes.widths[0]
        falling, rising = (partial(Block, sizes, embedding, up) for up in (False, True))
        self.enc, self.dec = trunk(sizes, first, Weight(sizes.channels + 1, first, 3), falling, rising)
        self.out_conv = Weight(first, sizes.outputs, 3)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        x = x.to(self.out_gain.dtype)
        e = self.emb_noise(self.emb_fourier(noise).to(x.dtype))
        if self.emb_label is not None:
            told = one_hot(labels, self.sizes.classes, x.dtype) * math.sqrt(self.sizes.classes)
            e = mix(e, self.emb_label(told), self.sizes.label_balance)
        e, skips = silu(e), []
        x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)  # stands for the biases
        for name, layer in self.enc.items():
            x = layer(x) if name.endswith("conv") else layer(x, e)
            skips.append(x)
        x = ascend(self.dec.items(), x, e, skips, partial(join, t=self.sizes.concat_balance))
        return self.out_conv(x, self.out_gain)
