"""What a teacher is and what a forward of it takes: `bench doctor --teacher`."""

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor

from bench.instruments.clock import Clock
from bench.instruments.warm_up import warm_up
from samplers.flops import flops
from samplers.models.doubts import doubts
from samplers.models.teacher import Teacher
from samplers.noises import labels, noise

BATCHES = (1, 64)
REPETITIONS = 5
PATIENCE = 60.0
"""Seconds that a forward of a batch may take by the one of one image, or it is not timed."""


@torch.no_grad()
def facts(teacher: Teacher, device: torch.device) -> dict[str, Any]:
    """What it is, and of a forward the FLOPs of an image and the seconds by batch size (None: too long, or too large).

    Of latents the seconds of decoding one, too; None of images, and where it takes too much memory.
    """
    schedule, scaling = teacher.schedule, teacher.scaling
    one = _inputs(teacher, 1, device)
    seconds: dict[int, float | None] = {}
    for n in BATCHES:
        too_long = n * (seconds.get(1) or 0.0) > PATIENCE
        seconds[n] = None if too_long else _seconds(partial(teacher, *_inputs(teacher, n, device)), device)
    return {
        "name": teacher.name,
        "sha256": teacher.sha256,
        "states": list(teacher.shape),
        "images": teacher.image_shape and list(teacher.image_shape),
        "classes": teacher.num_classes,
        "unconditional": teacher.unconditional,
        "parameters": teacher.describe().parameters,
        "predicts": scaling.name if scaling else None,
        "sigma_min": teacher.sigma_min,
        "sigma_end": teacher.sigma_end,
        "sigma_max": teacher.sigma_max,
        "schedule": type(schedule).__name__,
        "times": [float(scaling.c_noise(s)) for s in (teacher.sigma_min, teacher.sigma_max)] if scaling else None,
        "note": teacher.card.get("note"),
        "device": str(device),
        "flops": flops(teacher, *one),
        "seconds": {str(n): s for n, s in seconds.items()},
        "decode_seconds": _seconds(partial(teacher.decode, one[0]), device) if teacher.latent else None,
        "doubts": doubts(teacher, device),
    }


def _inputs(teacher: Teacher, n: int, device: torch.device) -> tuple[Tensor, float, Tensor | None]:
    """States, a noise level and classes of n images."""
    z, classes = noise(0, range(n), teacher.shape, device=device), labels(range(n), teacher.num_classes, device=device)
    return z, 1.0, classes


def _seconds(call: Callable[[], object], device: torch.device) -> float | None:
    """The median of some; None where the memory does not do."""
    clock = Clock(device)

    def once() -> float:
        return clock.time(call)[1].seconds

    try:
        warm_up(once, most=3, seconds=1.0)
        return median(once() for _ in range(REPETITIONS))
    except torch.OutOfMemoryError:
        return None
