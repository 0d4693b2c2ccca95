"""DSNO's network: the teacher's U-Net on M time points at once, with a temporal layer after each stage."""

from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from dsno.temporal import FASTEST, TemporalLayer, modes_of
from dsno.times import time_points
from samplers.errors import UserError
from samplers.models.sizes import UNetConfig
from samplers.models.unet import Stage, UNet
from samplers.models.unet_teacher import UNetTeacher
from samplers.schedule import Cosine
from samplers.settings import Settings

SKIPPED = 0.1
"""Most of the noise that a teacher's image at sigma_max may have by c_skip, for a DSNO to start from its network."""


class DSNOConfig(Settings):
    """What DSNO adds to its backbone."""

    points: int = Field(4, ge=1, le=1000, description="M, the time points decoded in one call")
    grid: Literal["quadratic", "uniform"] = Field("quadratic", description="how they are spaced")
    modes: int = Field(
        2, ge=0, description="J, Fourier modes of the temporal layers; 0 for none at all (a control: M unconnected outputs)"
    )

    @model_validator(mode="after")
    def _modes_fit(self) -> Self:
        if self.modes > modes_of(self.points):
            raise ValueError(f"modes: {self.points} time points have {modes_of(self.points)} Fourier modes, got {self.modes}")
        return self

    def times(self) -> list[float]:
        """The predicted times, from high noise to 0."""
        return time_points(self.grid, self.points)


class DSNO(UNet):
    """`dsno(z, logsnr, labels=None)`: z [B, C, H, W] standard normal, logsnr [B, M] -> x0 along the path [B, M, C, H, W].

    The noise passes the input convolution once and is repeated M times; then every spatial block sees B * M maps, each with
    its own time embedding, and every temporal layer mixes the M maps of a trajectory. Temporal layers stand after each
    [residual block (+ attention)] and after the middle attention; none after resampling blocks or the last middle block.
    Parameter names of the backbone are the teacher's.

    Args:
        backbone: sizes of the U-Net, the teacher's.
        config: M, time grid and J.
        form: of the temporal layers (see `TemporalLayer`).
    """

    def __init__(self, backbone: UNetConfig, config: DSNOConfig, form: str = FASTEST):
        super().__init__(backbone)
        self.operator = config
        stages = [m for part in (self.down, self.middle, self.up) for m in part if isinstance(m, Stage)]
        widths = [s.block.conv1.out_channels for s in stages]
        self.temporal = nn.ModuleList(TemporalLayer(w, config.points, config.modes, form) for w in widths if config.modes)

    def fold(self) -> "DSNO":
        """Fold all temporal layers for inference; call it after loading weights and moving to a device."""
        for layer in self.temporal:
            assert isinstance(layer, TemporalLayer)
            layer.fold()
        return self

    def evaluations(self, args: tuple, kwargs: dict[str, Any]) -> int:
        """Forwards of a call, B * M: the work of M network evaluations of each image."""
        return (args[1] if len(args) > 1 else kwargs["logsnr"]).numel()

    def forward(self, x: Tensor, logsnr: Tensor, labels: Tensor | None = None, image_only: bool = False) -> Tensor:
        """The decoded path [B, M, C, H, W]; where `image_only`, its last point [B, 1, C, H, W], at less work."""
        batch, points = logsnr.shape
        if labels is not None:
            labels = labels.repeat_interleave(points)
        e = self.embed(logsnr.reshape(-1), labels)  # [B * M, E]
        if self.patch > 1:
            x = F.pixel_unshuffle(x, self.patch)
        x = self.conv_in(x).repeat_interleave(points, dim=0)  # [B * M, width, H, W]
        x = x.contiguous(memory_format=torch.channels_last)  # repeating forgets it
        layers = iter(self.temporal)
        last = len(self.temporal) - 1
        seen = 0

        skips = [x]
        for part in (self.down, self.middle, self.up):
            for module in part:
                if part is self.up and isinstance(module, Stage):
                    x = torch.cat([x, skips.pop()], dim=1)
                x = module(x, e)
                if isinstance(module, Stage) and self.temporal:
                    x = next(layers)(x, last_only=image_only and seen == last)
                    seen += 1
                if part is self.down:
                    skips.append(x)
        if image_only and not self.temporal:
            x = x.reshape(batch, points, *x.shape[1:])[:, -1]
        x = self.conv_out(F.silu(self.norm_out(x)))
        x = F.pixel_shuffle(x, self.patch) if self.patch > 1 else x
        return x.reshape(batch, -1, *x.shape[1:])


def logsnr_at(schedule: Cosine, times: list[float], device: torch.device | str = "cpu") -> Tensor:
    """logSNR = -2 log sigma at each time, float32 [M]."""
    return -2 * torch.tensor([schedule.sigma(t) for t in times], dtype=torch.float64, device=device).log().float()


def from_teacher(teacher: UNetTeacher, config: DSNOConfig, form: str = FASTEST, dropout: float = 0.0) -> DSNO:
    """DSNO with the teacher's weights and nearly-identity temporal layers, its last convolution by the teacher's c_out.

    A path starts at sigma_max, where x0 = c_skip x + c_out F: told that level of the noise z, each output is the teacher's x0
    without c_skip sigma_max z, which is nothing for x-prediction and 0.0125 z for v-prediction from sigma 80 (c_out = -0.9999).

    Args:
        dropout: probability inside the residual blocks while it trains, whatever the teacher's was.

    Raises:
        UserError: a teacher whose images are mostly c_skip x there, as with eps-prediction: the rest is no image.
    """
    level = torch.tensor(teacher.sigma_max, dtype=torch.float64)
    kept, factor = float(teacher.scaling.c_skip(level) * level), float(teacher.scaling.c_out(level))
    if abs(kept) > SKIPPED:
        raise UserError(
            f"teacher {teacher.name} predicts '{teacher.parameterisation}': its image at the highest noise level is the noise "
            f"by {kept:.3g} and little besides, which is no start for DSNO; train a teacher with parameterisation: v"
        )
    network = DSNO(teacher.network.config.model_copy(update={"dropout": dropout}), config, form)
    weights = network.state_dict() | teacher.network.state_dict()
    weights |= {k: factor * weights[k] for k in ("conv_out.weight", "conv_out.bias")}
    network.load_state_dict(weights)
    return network.to(next(teacher.network.parameters()).device).to(memory_format=torch.channels_last)
