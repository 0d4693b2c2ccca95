"""Latent spaces: the autoencoder of a model, which makes images of what its network denoises."""

from typing import Any

import torch
from torch import Tensor, nn

from samplers.errors import UserError, clipped
from samplers.models.diffusers.networks import load_network
from samplers.models.diffusers.source import Source

PARTS = ("vae", "vqvae")
CLASSES = ("AutoencoderKL", "VQModel")


class Decoder(nn.Module):
    """latents z [B, C, H, W] -> images [B, C', H', W'], by the autoencoder at z / scaling_factor + shift_factor, in float32.

    With `latents_mean` and `latents_std` at z std / scaling_factor + mean.
    """

    factor: Tensor
    shift: Tensor

    def __init__(self, source: Source, part: str, autoencoder: nn.Module):
        super().__init__()
        config: Any = autoencoder.config
        self.autoencoder: Any = autoencoder
        self.name = f"{source.name}'s {part}"
        self.channels, self.image_channels = config.latent_channels, config.out_channels
        self.times = 2 ** (len(config.block_out_channels) - 1)
        told = {k: config.get(k) for k in ("scaling_factor", "shift_factor", "latents_mean", "latents_std")}
        shape = (1, self.channels, 1, 1)
        try:
            std, shift = (torch.as_tensor(told[k] or v).float() for k, v in (("latents_std", 1.0), ("latents_mean", 0.0)))
            factor = (std / (told["scaling_factor"] or 1.0)).reshape(-1, 1, 1).expand(shape)
            shift = (shift + (told["shift_factor"] or 0.0)).reshape(-1, 1, 1).expand(shape)
        except (TypeError, ValueError, RuntimeError, ZeroDivisionError) as e:
            raise UserError(f"{self.name}: its latents' scale {clipped(told)} is none; compare its config.json") from e
        self.register_buffer("factor", factor.clone(), persistent=False)
        self.register_buffer("shift", shift.clone(), persistent=False)

    def image_shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """(C', H', W') of the images of latents (C, H, W).

        Raises:
            UserError: latents of another number of channels.
        """
        channels, height, width = shape
        if channels != self.channels:
            raise UserError(f"{self.name} decodes {self.channels} channels, the network makes {channels}; save them together")
        return self.image_channels, self.times * height, self.times * width

    def forward(self, z: Tensor) -> Tensor:
        with torch.autocast(z.device.type, enabled=False):  # half precision overflows in some of them
            return self.autoencoder.decode(z.float() * self.factor + self.shift, return_dict=False)[0]


def decoder_of(source: Source) -> Decoder | None:
    """The decoder of a model; None of one that works in pixels.

    Raises:
        UserError: an autoencoder that is not known, or damaged.
    """
    part = next((p for p in PARTS if p in source.index or (source.root / p).is_dir()), None)
    return None if part is None else Decoder(source, part, load_network(source, part, CLASSES)[0])
