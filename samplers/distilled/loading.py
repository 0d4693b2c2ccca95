"""Students that are the teacher's network with other weights, from their cards."""

import torch

from samplers.models.unet_teacher import UNetTeacher, restore
from samplers.models.zoo import ZooEntry

KIND = "student"


def load_student(entry: ZooEntry, device: torch.device | str = "cpu") -> UNetTeacher:
    """The network of a student's card as a denoiser, ready to sample (eval mode).

    Raises:
        UserError: a card without a key; weights missing, damaged, of another hash, method or number of steps.
    """
    return restore(entry, device, stamped=("method", "steps"))
