"""The contestants, and what they share: protocol, registry, noise, schedule, networks, teacher, solvers, weights.

import samplers

teacher = samplers.load_teacher("mnist32")
z = samplers.noise(seed=0, indices=range(16), shape=teacher.shape)
images = samplers.get("dpmpp_2m").sample(teacher, z, steps=10)
"""

from typing import TYPE_CHECKING

from samplers.lazy import lazily

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

__getattr__, __dir__, __all__ = lazily(
    globals(),
    {
        "samplers.denoiser": "Denoiser",
        "samplers.errors": "UserError",
        "samplers.models.teacher": "Teacher load_teacher",
        "samplers.models.unet_teacher": "UNetTeacher",
        "samplers.noises": "FreshNoise labels noise",
        "samplers.protocol": "Card Sampler Student",
        "samplers.registry": "card get names",
        "samplers.schedule": "Cosine DiscreteVP Flow LinearBeta Power Schedule sigmas",
        "samplers.solvers.base": "Solver Walk",
    },
)
