"""The temporal layer: a convolution over the M time points of a trajectory, in Fourier space, at every pixel by itself.

u + LeakyReLU(irfft(R_j rfft(u)_j)), with complex C x C matrices R_j on the J lowest modes (arXiv 2211.13449, section 4). On M
points this is one real linear map, the same at every pixel: a block-circulant matrix on M * C channels. It is here in three
forms that give equal results; `bench profile` measures them.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samplers.errors import UserError, unknown

FORMS = ("fft", "folded", "split")
FASTEST = "split"
"""By measurement on a CPU (`pytest tests/speed/test_dsno_speed.py --benchmark-only`); a GPU has not been asked yet."""
SLOPE = 0.01  # LeakyReLU's


def modes_of(points: int) -> int:
    """Fourier modes of so many points."""
    return points // 2 + 1


class TemporalLayer(nn.Module):
    """`layer(u)` for features u [B * M, C, H, W], the M time points of a trajectory next to one another.

    No bias and an identity skip, as published. Weights start as U(0, 1) / C^2: tiny, so a new layer is nearly the identity.

    Args:
        channels: C.
        points: M.
        modes: J, the Fourier modes kept, at most M // 2 + 1. The imaginary part of mode 0 has no effect (irfft drops it),
            nor has that of mode M / 2 where M is even; both are kept, for the published parameter counts.
        form: "fft" (transform, multiply, transform back, in float32); "folded" (one real matrix, a 1x1 convolution on M * C
            channels: 2 M^2 C^2 FLOPs a pixel); "split" (the points in the real Fourier basis, where the matrix falls apart
            into a block for each mode: 2 (1 + 4 (J - 1)) C^2 FLOPs a pixel, besides two small products with the basis).
    """

    analysis: Tensor
    synthesis: Tensor

    def __init__(self, channels: int, points: int, modes: int, form: str = FASTEST):
        super().__init__()
        if form not in FORMS:
            raise unknown("form of the temporal layer", form, FORMS)
        if not 1 <= modes <= modes_of(points):
            raise UserError(f"{points} time points have {modes_of(points)} Fourier modes; modes must be 1 to that, got {modes}")
        self.channels, self.points, self.modes, self.form = channels, points, modes, form
        # As [C_in, C_out, J, real and imaginary part].
        self.weight = nn.Parameter(torch.rand(channels, channels, modes, 2) / channels**2)
        analysis, synthesis = real_basis(points, modes)
        self.register_buffer("analysis", analysis, persistent=False)
        self.register_buffer("synthesis", synthesis, persistent=False)
        self._matrix: Tensor | None = None
        self._blocks: list[Tensor] | None = None

    def matrix(self) -> Tensor:
        """The layer's linear map as one real matrix [M * C_out, M * C_in], blocks K[(m - n) mod M], K = irfft(R)."""
        spectrum = torch.view_as_complex(self.weight.float().contiguous())  # [C_in, C_out, J]
        # A circular convolution's kernel is the inverse transform of its spectrum.
        kernel = torch.fft.irfft(spectrum, n=self.points, dim=2)  # [C_in, C_out, M]
        m = torch.arange(self.points, device=kernel.device)
        blocks = kernel[:, :, (m[:, None] - m[None, :]) % self.points]  # [C_in, C_out, M_out, M_in]
        return blocks.permute(2, 1, 3, 0).reshape(self.points * self.channels, self.points * self.channels)

    def blocks(self) -> list[Tensor]:
        """The layer's map on the real Fourier components, a matrix [inputs, outputs] a mode.

        Mode j's product (a - i b)(R + i S) is [a, b] to [a R + b S, a S - b R]; a mode without a sine part has a alone.
        """
        found = []
        for j in range(self.modes):
            real, imaginary = self.weight[:, :, j, 0], self.weight[:, :, j, 1]
            if j == 0 or 2 * j == self.points:
                found.append(real)
            else:
                found.append(torch.cat([torch.cat([real, imaginary], 1), torch.cat([imaginary, -real], 1)], 0))
        return found

    def fold(self) -> None:
        """Compute the matrices once and for all: for inference, when the weights are loaded and the layer is on its device."""
        self._matrix = self.matrix().detach().to(self.weight.dtype) if self.form == "folded" else None
        self._blocks = [b.detach().contiguous() for b in self.blocks()] if self.form == "split" else None

    def train(self, mode: bool = True) -> "TemporalLayer":
        """Training changes the weights, so it forgets the folded matrices."""
        if mode:
            self._matrix = self._blocks = None
        return super().train(mode)

    def forward(self, u: Tensor, last_only: bool = False) -> Tensor:
        """[B * M, C, H, W] to the same, or to [B, C, H, W], the last time point, where `last_only`."""
        if self.form == "split":
            return self._split(u, last_only)
        shape = (-1, self.points, *u.shape[1:])
        skip = u.reshape(shape)[:, -1] if last_only else u
        mixed = self._folded(u, last_only) if self.form == "folded" else self._by_fft(u.reshape(shape), last_only)
        return skip + F.leaky_relu(mixed, SLOPE)

    def _split(self, u: Tensor, last_only: bool) -> Tensor:
        c, (h, w) = self.channels, u.shape[2:]
        points = u.permute(0, 2, 3, 1).reshape(-1, self.points, h * w * c)  # [B, M, H W C], no copy in channels_last
        parts = torch.matmul(self.analysis.to(u.dtype), points).unflatten(2, (h * w, c))  # [B, R, H W, C]
        mixed, at = [], 0  # type: list[Tensor], int
        for block in self.blocks() if self._blocks is None else self._blocks:
            size = block.shape[0] // c
            inputs = torch.cat(parts[:, at : at + size].unbind(1), dim=-1)  # [B, H W, size C]
            mixed += (inputs @ block.to(u.dtype)).chunk(size, dim=-1)
            at += size
        back = self.synthesis[-1:] if last_only else self.synthesis
        points = points[:, -1:] if last_only else points
        out = points + F.leaky_relu(torch.matmul(back.to(u.dtype), torch.stack(mixed, dim=1).flatten(2)), SLOPE)
        return out.reshape(-1, h, w, c).permute(0, 3, 1, 2)  # channels_last

    def _folded(self, u: Tensor, last_only: bool) -> Tensor:
        matrix = self.matrix() if self._matrix is None else self._matrix
        if last_only:
            matrix = matrix[-self.channels :]
        joined = u.reshape(-1, self.points * self.channels, *u.shape[2:])  # [B, M * C, H, W]
        return F.conv2d(joined, matrix.to(u.dtype)[:, :, None, None]).reshape(-1, *u.shape[1:])

    def _by_fft(self, u: Tensor, last_only: bool) -> Tensor:
        with torch.autocast(u.device.type, enabled=False):  # FFT and product in float32, as published
            spectrum = torch.fft.rfft(u.float(), dim=1)[:, : self.modes]  # [B, J, C, H, W]
            weight = torch.view_as_complex(self.weight.float().contiguous())
            spectrum = torch.einsum("bjchw,cdj->bjdhw", spectrum, weight)
            mixed = torch.fft.irfft(spectrum, n=self.points, dim=1)  # [B, M, C, H, W]
        return mixed[:, -1].to(u.dtype) if last_only else mixed.flatten(0, 1).to(u.dtype)


def real_basis(points: int, modes: int) -> tuple[Tensor, Tensor]:
    """(analysis [R, M], synthesis [M, R]): M points to their real Fourier components on the lowest modes, and irfft back.

    A mode j has a cosine and a sine component, modes 0 and M / 2 (M even) a cosine alone. rfft(u)_j is a - i b, with a and b
    the components; irfft weighs mode 0 and M / 2 by 1 / M and the others by 2 / M.
    """
    analysis, synthesis = [], []
    for j in range(modes):
        angles = 2 * math.pi * j / points * torch.arange(points, dtype=torch.float64)
        alone = j == 0 or 2 * j == points
        scale = (1 if alone else 2) / points
        analysis.append(angles.cos())
        synthesis.append(scale * angles.cos())
        if not alone:
            analysis.append(angles.sin())
            synthesis.append(-scale * angles.sin())
    return torch.stack(analysis).float(), torch.stack(synthesis, dim=1).float()
