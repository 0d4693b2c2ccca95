"""What the U-Nets of EDM, EDM2 and ADM share: resampling, frequencies, attention, and the order of a U-Net's blocks."""

import math
from collections.abc import Callable, Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samplers.models.foreign.sizes import Sizes

Resample = Literal["up", "down"] | None


def kernel_of(weights: tuple[int, ...]) -> Tensor:
    """The separable filter [1, 1, k, k] of one-dimensional weights, of sum 1."""
    line = torch.tensor(weights, dtype=torch.float32)
    return (line.outer(line) / line.sum() ** 2)[None, None]


def resample(x: Tensor, kernel: Tensor, way: Resample, *, bordered: bool = False) -> Tensor:
    """Halve or double the resolution of x [B, C, H, W], which may be `bordered` already, by a filter [1, 1, k, k].

    With border the filter sees pixels, without it zeros (NCSN++'s resampling, arXiv 2011.13456, appendix H).
    """
    if way is None:
        return x
    channels, pad = x.shape[1], 0 if bordered else (kernel.shape[-1] - 1) // 2
    kernel = kernel.to(x.dtype).expand(channels, -1, -1, -1)
    if way == "down":
        return F.conv2d(x, kernel, stride=2, padding=pad, groups=channels)
    return F.conv_transpose2d(x, 4 * kernel, stride=2, padding=pad, groups=channels)


def waves(times: Tensor, channels: int, *, endpoint: bool = False) -> Tensor:
    """cos and sin [B, channels] of times [B] by frequencies from 1 down to 1/10000 (excluded without `endpoint`)."""
    half = channels // 2
    steps = torch.arange(half, dtype=torch.float32, device=times.device) / (half - endpoint)
    angles = times.float()[:, None] * torch.exp(-math.log(10000) * steps)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def one_hot(labels: Tensor | None, classes: int, dtype: torch.dtype) -> Tensor:
    """Labels int64 [B] as [B, classes]; a label that is no class is the zero vector."""
    assert labels is not None, "a teacher refuses this"
    return (labels[:, None] == torch.arange(classes, device=labels.device)).to(dtype)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention over pixels; each [B, heads, c, H W], as is what it returns."""
    q, k, v = (t.transpose(2, 3) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(2, 3)


Make = Callable[..., nn.Module]
"""A residual block: (inputs, outputs, way=, attends=)."""


def trunk(
    sizes: Sizes, first: int, entry: nn.Module, falling: Make, rising: Make, *, last_attends: bool = False
) -> tuple[nn.ModuleDict, nn.ModuleDict]:
    """The way down and the way up of EDM's U-Nets, under their names: {resolution}_conv, _down, _block0, _in0, _in1, _up.

    Args:
        sizes: of the network.
        first: channels that `entry` makes of the image.
        entry: the first layer.
        falling, rising: make the blocks of the way down and of the way up.
        last_attends: on the way up only the last block of a level attends, not all.
    """
    down, up = nn.ModuleDict(), nn.ModuleDict()
    named = [(f"{n}x{n}", w, n in sizes.attention) for i, w in enumerate(sizes.widths) for n in [sizes.image_size >> i]]
    current, skips = first, [first]
    for level, (name, width, attends) in enumerate(named):
        down[f"{name}_{'down' if level else 'conv'}"] = falling(current, current, way="down") if level else entry
        if level:
            skips.append(current)
        for i in range(sizes.blocks):
            down[f"{name}_block{i}"] = falling(current, width, attends=attends)
            skips.append(current := width)
    for level, (name, width, attends) in reversed(list(enumerate(named))):
        if level == len(named) - 1:
            up[f"{name}_in0"] = rising(current, current, attends=True)
            up[f"{name}_in1"] = rising(current, current)
        else:
            up[f"{name}_up"] = rising(current, current, way="up")
        for i in range(sizes.blocks + 1):
            late = i == sizes.blocks or not last_attends
            up[f"{name}_block{i}"] = rising(current + skips.pop(), width, attends=attends and late)
            current = width
    return down, up


Named = Iterable[tuple[str, nn.Module]]


def ascend(up: Named, x: Tensor, e: Tensor, skips: list[Tensor], join: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The way up of a `trunk`: blocks take what the way down left, joined to what comes from below."""
    for name, layer in up:
        x = layer(join(x, skips.pop()) if "_block" in name else x, e)
    return x


def side_by_side(x: Tensor, skip: Tensor) -> Tensor:
    """Channels of both."""
    return torch.cat([x, skip], dim=1)
