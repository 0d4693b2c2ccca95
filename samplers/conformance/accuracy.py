"""The order of accuracy of a solver, measured on exact data."""

import math

import torch

import samplers
from samplers.conformance.subject import BATCH, Flaw, Subject
from samplers.conformance.watched import Data
from samplers.errors import UserError

FINE, COARSE = (159, 319), (19, 39)
"""Steps between which the order is measured; of one that reaches the rounding of float32 there."""
ROUNDING = 3e-5
"""Relative error that float32 allows of many steps."""
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
    try:
        s.sampler.prepare(Data(*STRICT, device=s.device), s.device, max(FINE))
    except UserError:  # its grid has fewer
        return None
    measured, error, told = *_slope(s, FINE), ""
    if not error < NEAR:
        raise Flaw(f"with {FINE[1]} steps it is {error:.2g} of its size away from the exact image", s.line)
    if measured < s.card.order - SLACK and error < ROUNDING:
        measured, told = _slope(s, COARSE)[0], f" between {COARSE[0]} and {COARSE[1]} steps, for more are as exact as float32"
    if measured < s.card.order - SLACK:
        raise Flaw(f"the card says order {s.card.order}, measured {measured:.2f}{told}", s.line)
    return f"{measured:.2f}{told}, the card says {s.card.order}"


def _slope(s: Subject, steps: tuple[int, int]) -> tuple[float, float]:
    """The order between two numbers of steps, and the error with the larger."""
    few, many = (error_of(s, n) for n in steps)
    return (math.log(few / many) / math.log(steps[1] / steps[0]) if min(few, many) > 0 else math.inf), many


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
    return ((made - exact).norm() / exact.norm()).item()
