"""The order of accuracy of a solver, measured on exact data."""

import math

import torch

import samplers
from samplers.conformance.subject import BATCH, Flaw, Subject
from samplers.conformance.watched import Data

FINE = (159, 319)
"""Steps between which the order is measured."""
STRICT = (0.3, 2.0)
"""Noise levels of that measurement, where D bends most: the first, low-order steps err as much as all others there."""
SLACK = 0.2
"""How far a measured order may be below the card's."""
NEAR = 0.02
"""How far the finest run may be from the exact image, of its size."""


def order(s: Subject) -> str | None:
    """On exact data its error falls as its card's order says."""
    if s.card.order is None or s.teacher is not None:
        return None
    if s.card.steps is not None and not set(FINE) <= set(s.card.steps):
        return None
    errors = [error_of(s, n) for n in FINE]
    measured = math.log(errors[0] / errors[1]) / math.log(FINE[1] / FINE[0]) if min(errors) > 0 else math.inf
    if not errors[1] < NEAR:
        raise Flaw(f"with {FINE[1]} steps it is {errors[1]:.2g} of its size away from the exact image", s.line)
    if measured < s.card.order - SLACK:
        raise Flaw(f"the card says order {s.card.order}, measured {measured:.2f}", s.line)
    return f"{measured:.2f}, the card says {s.card.order}"


def error_of(s: Subject, steps: int) -> float:
    """Distance of a run's images from the exact solution where it ends, by the size of that.

    A sampler that tells no `levels` is taken to end at the image.
    """
    low, high = STRICT
    data = Data(low, high, device=s.device)
    z = samplers.noise(0, range(BATCH), data.shape, device=s.device, dtype=torch.float64)
    made, levels = s.run(z, None, steps, data), s.sampler.levels(data, steps)
    last = next((v for v in reversed(levels) if v > 0), low)
    exact = data.state(high * z, high, last)
    if not levels or levels[-1] == 0:
        exact = data(exact, last)
    return float((made - exact).norm() / exact.norm())
