"""From a sampler's floats to the 8-bit images that are scored and shown: one rule, used once."""

import torch
from torch import Tensor

from samplers.models.teacher import Teacher

DECODED = 16
"""Images decoded at a time: an autoencoder takes more memory than the network whose latents they are."""
ROUNDING = "nearest"
"""What a reference's key calls the rule."""


def to_uint8(images: Tensor) -> Tensor:
    """uint8 images of floats in [-1, 1] (values outside are clamped), any shape, rounded to the nearest level in float32.

    EDM's formula. Truncating instead moves four pixels in ten by a level; skipping the clamp lets values wrap.
    """
    return (images.float() * 127.5 + 128).clamp(0, 255).to(torch.uint8)


@torch.no_grad()
def pictures(teacher: Teacher, states: Tensor) -> Tensor:
    """uint8 images [..., C', H', W'] of a teacher's denoised states [..., C, H, W]: what is scored and shown, decoded."""
    parts = [to_uint8(teacher.decode(part)) for part in states.flatten(0, -4).split(DECODED)]
    return torch.cat(parts).unflatten(0, states.shape[:-3])
