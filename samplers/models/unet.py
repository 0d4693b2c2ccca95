"""The U-Net of progressive distillation, in PyTorch, every size configurable.

BigGAN-style residual blocks with FiLM time conditioning, residual blocks that resample, attention at chosen resolutions.
Source: Salimans & Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", arXiv 2202.00512 (appendix B), after
Ho et al. 2020 and Dhariwal & Nichol 2021. DSNO's backbone is this network (arXiv 2211.13449).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samplers.models.sizes import UNetConfig


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(channels, 32 if channels >= 128 else 8), channels, eps=1e-6)


def _zero(module: nn.Conv2d) -> nn.Conv2d:
    """Zero-initialise, so that a fresh residual branch adds nothing."""
    nn.init.zeros_(module.weight)
    assert module.bias is not None
    nn.init.zeros_(module.bias)
    return module


class TimeEmbedding(nn.Module):
    """logSNR [B] (and labels [B], -1 for none) to an embedding [B, E].

    The network sees u = atan(exp(-logSNR / 2)) / (pi / 2), which on the cosine schedule is about the time t in [0, 1].
    """

    frequencies: Tensor

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.width = config.width
        self.classes = config.classes
        self.dense0 = nn.Linear(config.width, config.embedding)
        self.dense1 = nn.Linear(config.embedding, config.embedding)
        self.label = nn.Linear(config.classes, config.embedding) if config.classes else None
        half = config.width // 2
        frequencies = torch.exp(torch.arange(half) * (-math.log(10000.0) / (half - 1)))
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, logsnr: Tensor, labels: Tensor | None) -> Tensor:
        u = torch.atan(torch.exp(-logsnr.float() / 2)) / (math.pi / 2)
        angles = 1000.0 * u[:, None] * self.frequencies  # [B, width / 2]
        e = torch.cat([angles.sin(), angles.cos()], dim=1)  # [B, width]
        e = self.dense1(F.silu(self.dense0(e)))
        if self.label is not None:
            if labels is None:
                labels = torch.full_like(logsnr, -1, dtype=torch.long)
            kinds = torch.arange(self.classes, device=e.device)
            e = e + self.label((labels[:, None] == kinds).to(e.dtype))  # a label of -1 is the zero vector: no class
        return F.silu(e)


class ResBlock(nn.Module):
    """Residual block with FiLM conditioning; `resample` is "down" (average pool), "up" (nearest) or None."""

    def __init__(self, inputs: int, outputs: int, embedding: int, dropout: float, resample: str | None = None):
        super().__init__()
        self.resample = resample
        self.norm0 = _norm(inputs)
        self.conv0 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.film = nn.Linear(embedding, 2 * outputs)
        self.norm1 = _norm(outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv1 = _zero(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def _resize(self, x: Tensor) -> Tensor:
        if self.resample == "down":
            return F.avg_pool2d(x, 2)
        if self.resample == "up":
            return F.interpolate(x, scale_factor=2.0, mode="nearest")
        return x

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        h = self.conv0(self._resize(F.silu(self.norm0(x))))
        scale, shift = self.film(e)[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.norm1(h), 1 + scale)
        h = self.conv1(self.dropout(F.silu(h)))
        return self.skip(self._resize(x)) + h


class Attention(nn.Module):
    """Residual multi-head self-attention over the pixels of a feature map."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm = _norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = _zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        qkv = self.qkv(self.norm(x)).reshape(b, 3, self.heads, c // self.heads, h * w).transpose(3, 4)
        q, k, v = qkv.unbind(1)  # each [B, heads, HW, C / heads]
        a = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(b, c, h, w)
        return x + self.out(a)


class Stage(nn.Module):
    """A residual block and, at the chosen resolutions, attention: the unit after which DSNO mixes in time."""

    def __init__(self, block: ResBlock, attention: Attention | None = None):
        super().__init__()
        self.block = block
        self.attention = attention

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        x = self.block(x, e)
        return x if self.attention is None else self.attention(x)


class UNet(nn.Module):
    """`unet(x, logsnr, labels=None)`: x [B, C, H, W] variance-preserving, logsnr [B], labels [B] of -1..classes-1.

    Returns a tensor shaped like x. What it means (x0 in [-1, 1], eps or v) is the teacher's to say.
    """

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config, self.patch = config, config.patch
        c, e, p = config, config.embedding, config.dropout
        pixels = c.channels * c.patch**2
        resolution = c.image_size // c.patch
        widths = [c.width * m for m in c.multipliers]

        def stage(inputs: int, outputs: int) -> Stage:
            attends = resolution in c.attention
            return Stage(ResBlock(inputs, outputs, e, p), self._attention(outputs) if attends else None)

        self.embed = TimeEmbedding(c)
        self.conv_in = nn.Conv2d(pixels, c.width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, current = [c.width], c.width
        for level, width in enumerate(widths):
            for _ in range(c.blocks):
                self.down.append(stage(current, width))
                skips.append(current := width)
            if level < len(widths) - 1:
                self.down.append(ResBlock(width, width, e, p, "down"))
                skips.append(width)
                resolution //= 2
        self.middle = nn.ModuleList(
            [
                Stage(ResBlock(current, current, e, p), self._attention(current)),
                ResBlock(current, current, e, p),
            ]
        )
        for level, width in reversed(list(enumerate(widths))):
            for _ in range(c.blocks + 1):
                self.up.append(stage(current + skips.pop(), width))
                current = width
            if level > 0:
                self.up.append(ResBlock(width, width, e, p, "up"))
                resolution *= 2
        self.norm_out = _norm(current)
        self.conv_out = _zero(nn.Conv2d(current, pixels, 3, padding=1))

    def _attention(self, channels: int) -> Attention:
        return Attention(channels, self.config.heads_of(channels))

    def forward(self, x: Tensor, logsnr: Tensor, labels: Tensor | None = None) -> Tensor:
        x = x.to(next(self.parameters()).dtype)  # noise may be of another; who calls it wants his own back
        e = self.embed(logsnr, labels)
        if self.patch > 1:
            x = F.pixel_unshuffle(x, self.patch)
        x = self.conv_in(x)
        skips = [x]
        for module in self.down:
            x = module(x, e)
            skips.append(x)
        for module in self.middle:
            x = module(x, e)
        for module in self.up:
            if isinstance(module, Stage):
                x = torch.cat([x, skips.pop()], dim=1)
            x = module(x, e)
        x = self.conv_out(F.silu(self.norm_out(x)))
        return F.pixel_shuffle(x, self.patch) if self.patch > 1 else x


def parameter_count(module: nn.Module) -> int:
    """Number of trainable numbers in a module."""
    return sum(p.numel() for p in module.parameters())
