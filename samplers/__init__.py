"""The contestants, and what they share: protocol, registry, noise, schedule, networks, teacher, solvers, weights.

import samplers

teacher = samplers.load_teacher("mnist32")
z = samplers.noise(seed=0, indices=range(16), shape=teacher.shape)
images = samplers.get("dpmpp_2m").sample(teacher, z, steps=10)
"""

from samplers.denoiser import Denoiser
from samplers.errors import UserError
from samplers.models.teacher import Teacher, load_teacher
from samplers.models.unet_teacher import UNetTeacher
from samplers.noise import FreshNoise, labels, noise
from samplers.protocol import Card, Sampler, Student
from samplers.registry import card, get, names
from samplers.schedule import Cosine, DiscreteVP, Flow, LinearBeta, Power, Schedule, sigmas
from samplers.solvers.base import Solver, Walk

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
