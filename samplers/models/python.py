"""Teachers of the user's own: `python:MODULE:FUNCTION`."""

import importlib
import os
import sys
from typing import Any

import torch
from torch import Tensor, nn

from samplers.denoiser import Denoiser, schedule_of
from samplers.errors import UserError, foreign, one_line
from samplers.models.teacher import GROUP, Teacher
from samplers.registry import HELD


class DenoiserTeacher(Teacher):
    """Any denoiser as a teacher. Its networks are those it tells of, else itself where it is a module, else none."""

    def __init__(self, name: str, denoiser: Denoiser):
        told = {key: getattr(denoiser, key, None) for key in ("sha256", "data", "sigma_end")}
        c, h, w = denoiser.shape
        super().__init__(name, (c, h, w), denoiser.num_classes, schedule_of(denoiser), **told)
        self.denoiser = denoiser

    def forward(self, x: Tensor, sigma: float | Tensor, labels: Tensor | None = None) -> Tensor:
        return self.denoiser(x, sigma, labels)

    def networks(self) -> list[nn.Module]:
        if hasattr(self.denoiser, "networks"):
            return self.denoiser.networks()
        return [self.denoiser] if isinstance(self.denoiser, nn.Module) else []


def load(spec: str, device: torch.device | str) -> Teacher:
    """What FUNCTION() of MODULE returns, or the object of this name: a `samplers.Teacher`, or any denoiser.

    MODULE is imported, and so executed; it may lie in the current folder. A denoiser, which need be no module, has sigma_min,
    sigma_max, shape (C, H, W) and num_classes, and may have name, schedule, sigma_end, sha256 (without it nothing that comes
    from it is cached), data and networks(); it is given noise of the device, and modules are moved there. An object of this
    process that has this name (`samplers.registry.HELD`) is taken as it is.

    Raises:
        UserError: no such function, it raises, or what it returns is no denoiser.
    """
    module, colon, function = spec.partition(":")
    if not (module and colon and function):
        raise UserError(f"python:{spec} names no function; write python:MODULE:FUNCTION")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a script of the environment does not look there
    held = HELD.get((GROUP, spec))
    with foreign(f"python:{one_line(spec)} makes no teacher", "check the names, or mend the function"):
        made = getattr(importlib.import_module(module), function) if held is None else held
        if held is None and (isinstance(made, type) or not isinstance(made, Denoiser)):
            made = made()
    if not isinstance(made, Teacher):
        _check(made, spec)
        made = DenoiserTeacher(str(getattr(made, "name", spec)), made)
    made = made.to(device).eval()
    return made if held is not None else made.requires_grad_(False)


def _check(made: Any, spec: str) -> None:
    if not isinstance(made, Denoiser):
        raise UserError(
            f"python:{spec} returned a {type(made).__name__}, no denoiser: it needs __call__(x, sigma, labels=None), "
            "sigma_min, sigma_max, shape and num_classes"
        )
    sizes = list(made.shape) if isinstance(made.shape, list | tuple) else []
    if len(sizes) != 3 or not all(type(n) is int and n > 0 for n in sizes):
        raise UserError(f"python:{spec}: shape must be (C, H, W), whole numbers from 1 on")
    if type(made.num_classes) is not int or made.num_classes < 0:
        raise UserError(f"python:{spec}: num_classes must be a whole number, 0 for none")
    if not all(isinstance(s, int | float) for s in (made.sigma_min, made.sigma_max)) or not made.sigma_min < made.sigma_max:
        raise UserError(f"python:{spec}: sigma_min and sigma_max must be numbers, the second the larger")
    end = getattr(made, "sigma_end", None)
    if end is not None and not (isinstance(end, int | float) and made.sigma_min <= end < made.sigma_max):
        raise UserError(f"python:{spec}: sigma_end must be a number from sigma_min to below sigma_max")
