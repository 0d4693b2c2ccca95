"""The contestants, and what they share: protocol, registry, noise, schedule, networks, teacher, solvers, weights.

import samplers

teacher = samplers.load_teacher("mnist32")
z = samplers.noise(seed=0, indices=range(16), shape=teacher.shape)
images = samplers.get("dpmpp_2m").sample(teacher, z, steps=10)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samplers.denoiser import Denoiser
    from samplers.errors import UserError
    from samplers.models.teacher import Teacher, load_teacher
    from samplers.models.unet_teacher import UNetTeacher
    from samplers.noises import FreshNoise, labels, noise
    from samplers.protocol import Card, Sampler, Student
    from samplers.registry import card, get, names
    from samplers.schedule import Cosine, DiscreteVP, Flow, LinearBeta, Power, Schedule, sigmas
    from samplers.solvers.base import Solver, Walk

_HOMES = {
    "Card": "samplers.protocol",
    "Cosine": "samplers.schedule",
    "Denoiser": "samplers.denoiser",
    "DiscreteVP": "samplers.schedule",
    "Flow": "samplers.schedule",
    "FreshNoise": "samplers.noises",
    "LinearBeta": "samplers.schedule",
    "Power": "samplers.schedule",
    "Sampler": "samplers.protocol",
    "Schedule": "samplers.schedule",
    "Solver": "samplers.solvers.base",
    "Student": "samplers.protocol",
    "Teacher": "samplers.models.teacher",
    "UNetTeacher": "samplers.models.unet_teacher",
    "UserError": "samplers.errors",
    "Walk": "samplers.solvers.base",
    "card": "samplers.registry",
    "get": "samplers.registry",
    "labels": "samplers.noises",
    "load_teacher": "samplers.models.teacher",
    "names": "samplers.registry",
    "noise": "samplers.noises",
    "sigmas": "samplers.schedule",
}
"""Where each public name lives; it is imported when it is first asked for, so that `import samplers` loads no torch. No module
here may have the name of what it holds: once imported, it would stand in its place."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'samplers' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


__all__ = [
    "Card",
    "Cosine",
    "Denoiser",
    "DiscreteVP",
    "Flow",
    "FreshNoise",
    "LinearBeta",
    "Power",
    "Sampler",
    "Schedule",
    "Solver",
    "Student",
    "Teacher",
    "UNetTeacher",
    "UserError",
    "Walk",
    "card",
    "get",
    "labels",
    "load_teacher",
    "names",
    "noise",
    "sigmas",
]
