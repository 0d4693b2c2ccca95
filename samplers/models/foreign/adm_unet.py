"""The U-Net of guided-diffusion and of OpenAI's consistency models (ADM).

Sources: Dhariwal & Nichol, arXiv 2105.05233 (section 3, tables 4 and 13); Nichol & Dhariwal, arXiv 2102.09672; Song et al.,
arXiv 2303.01469 (appendix C). Parameters have the original names.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samplers.models.foreign.layers import Resample, attend, waves
from samplers.models.foreign.sizes import ADMSizes


def norm(channels: int) -> nn.GroupNorm:
    """Group normalisation by 32 groups."""
    return nn.GroupNorm(32, channels)


def resized(x: Tensor, way: Resample) -> Tensor:
    """Twice the pixels, or means of four."""
    return F.avg_pool2d(x, 2) if way == "down" else F.interpolate(x, scale_factor=2.0, mode="nearest") if way else x


class ResBlock(nn.Module):
    """A residual block that the embedding conditions, and that may halve or double the resolution."""

    def __init__(self, sizes: ADMSizes, inputs: int, outputs: int, way: Resample = None):
        super().__init__()
        self.way, self.film = way, sizes.film
        conv = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.in_layers = nn.Sequential(norm(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(4 * sizes.width, outputs * (2 if sizes.film else 1)))
        self.out_layers = nn.Sequential(norm(outputs), nn.SiLU(), nn.Identity(), conv)  # dropout, where it is trained
        self.skip_connection = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        *before, conv = self.in_layers
        h = x
        for layer in before:
            h = layer(h)
        h, told = conv(resized(h, self.way)), self.emb_layers(e)[:, :, None, None]
        first, *after = self.out_layers
        if self.film:
            scale, shift = told.chunk(2, dim=1)
            h = torch.addcmul(shift, first(h), 1 + scale)
        else:
            h = first(h + told)
        for layer in after:
            h = layer(h)
        return self.skip_connection(resized(x, self.way)) + h


class AttentionBlock(nn.Module):
    """Residual self-attention over the pixels."""

    def __init__(self, sizes: ADMSizes, channels: int):
        super().__init__()
        self.heads, self.legacy = sizes.heads or channels // sizes.head_width, sizes.legacy_order
        if channels % self.heads or (not sizes.heads and channels % sizes.head_width):
            raise ValueError(f"{channels} channels have no such attention heads")
        self.norm = norm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        b, c, *_ = x.shape
        flat = x.reshape(b, c, -1)
        qkv, width = self.qkv(self.norm(flat)), c // self.heads
        if self.legacy:
            q, k, v = qkv.reshape(b, self.heads, 3, width, -1).unbind(2)
        else:
            q, k, v = qkv.reshape(b, 3, self.heads, width, -1).unbind(1)
        return (flat + self.proj_out(attend(q, k, v).reshape(b, c, -1))).reshape(x.shape)


class Resampling(nn.Module):
    """A convolution that halves the resolution (`op`), or one after doubling it (`conv`)."""

    def __init__(self, channels: int, way: Resample):
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1) if way == "down" else None
        self.conv = nn.Conv2d(channels, channels, 3, padding=1) if way == "up" else None

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        return self.op(x) if self.op is not None else self.conv(resized(x, "up"))  # type: ignore[misc]


class Stage(nn.ModuleList):
    """Layers one after another, each of which sees the embedding."""

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        for layer in self:
            x = layer(x, e)
        return x


class ADMUNet(nn.Module):
    """`network(x, steps, labels=None)`: x [B, C, H, W], steps [B] float, labels int64 [B] if there are classes."""

    def __init__(self, sizes: ADMSizes):
        super().__init__()
        self.sizes = sizes
        embedding, current = 4 * sizes.width, sizes.widths[0]
        self.time_embed = nn.Sequential(nn.Linear(sizes.width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        if sizes.classes:
            self.label_emb = nn.Embedding(sizes.classes, embedding)
        self.input_blocks = nn.ModuleList([nn.Sequential(nn.Conv2d(sizes.channels, current, 3, padding=1))])
        skips = [current]
        for level, width in enumerate(sizes.widths):
            for _ in range(sizes.blocks):
                self.input_blocks.append(self._stage(level, current, width))
                skips.append(current := width)
            if level < len(sizes.widths) - 1:
                self.input_blocks.append(Stage([self._resampling(current, "down")]))
                skips.append(current)
        attention = AttentionBlock(sizes, current)
        self.middle_block = Stage([ResBlock(sizes, current, current), attention, ResBlock(sizes, current, current)])
        self.output_blocks = nn.ModuleList()
        for level, width in reversed(list(enumerate(sizes.widths))):
            for _ in range(sizes.blocks + 1):
                stage = self._stage(level, current + skips.pop(), current := width)
                self.output_blocks.append(stage)
            if level:
                stage.append(self._resampling(current, "up"))
        self.out = nn.Sequential(norm(current), nn.SiLU(), nn.Conv2d(current, sizes.outputs, 3, padding=1))

    def _stage(self, level: int, inputs: int, outputs: int) -> Stage:
        stage = Stage([ResBlock(self.sizes, inputs, outputs)])
        if self.sizes.image_size >> level in self.sizes.attention:
            stage.append(AttentionBlock(self.sizes, outputs))
        return stage

    def _resampling(self, channels: int, way: Resample) -> nn.Module:
        if self.sizes.residual_resampling:
            return ResBlock(self.sizes, channels, channels, way)
        return Resampling(channels, way)

    def forward(self, x: Tensor, steps: Tensor, labels: Tensor | None = None) -> Tensor:
        x = x.to(next(self.parameters()).dtype)
        e = self.time_embed(waves(steps, self.sizes.width).to(x.dtype))
        if self.sizes.classes:
            e = e + self.label_emb(labels)
        first, *falling = self.input_blocks
        skips = [x := first(x)]
        for stage in falling:
            skips.append(x := stage(x, e))
        x = self.middle_block(x, e)
        for stage in self.output_blocks:
            x = stage(torch.cat([x, skips.pop()], dim=1), e)
        return self.out(x)
