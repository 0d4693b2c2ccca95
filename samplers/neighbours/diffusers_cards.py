"""The cards of diffusers' schedulers that can drive a plain denoiser, and why others cannot."""

from collections.abc import Callable
from typing import Any

from samplers.protocol import Card


def _card(name: str, note: str, order: int | None, calls: Callable[[int], int] = lambda n: n, **more: Any) -> Card:
    settings: dict[str, Any] = {"deterministic": order is not None, "grid": "own"} | more
    return Card(
        name=f"{name}Scheduler",
        family="diffusers",
        paper="von Platen et al. 2022, diffusers",
        order=order,
        calls=calls,
        setting="the scheduler's defaults, on 1,000 levels in equal steps of the teacher's own time",
        note=note,
        **settings,
    )


ROUNDED = (
    "; with use_karras_sigmas, use_beta_sigmas or use_exponential_sigmas it rounds times, so that the network is told levels "
    "up to 4, 10 or 43 % off those of the updates (20 steps, cosine schedule)"
)
LINEAR = "; the network is told levels up to 0.1 % off those of the updates, which are interpolated between times"
_twice: Callable[[int], int] = lambda n: 2 * n - 1  # noqa: E731
CARDS = {
    card.name: card
    for card in (
        _card("CosineDPMSolverMultistep", "DPM-Solver++(2M) for the SDE, in v on equal steps of log sigma", None),
        _card("DDIM", "leading times, so it begins below the highest level", 1, grid=None),
        _card("DDPM", "ancestral; leading times, as of DDIM", None, grid=None),
        _card("DEISMultistep", "DEIS of second order in log rho; stops at the lowest level" + ROUNDED, 2, last="stop"),
        _card("DPMSolverMultistep", "DPM-Solver++(2M), a last step of first order" + ROUNDED, 2),
        _card("DPMSolverSinglestep", "DPM-Solver++(2S), one call a step" + ROUNDED, 2),
        _card("DPMSolverSDE", "DPM-Solver++ for the SDE, two calls a step" + LINEAR, None, _twice, grid=None),
        _card("EDMDPMSolverMultistep", "DPM-Solver++(2M) in EDM's preconditioning and on its grid", 2),
        _card("EDMEuler", "Euler's method in EDM's preconditioning and on its grid", 1),
        _card("EulerDiscrete", "Euler's method" + LINEAR, 1),
        _card("EulerAncestralDiscrete", "Euler's method with ancestral noise" + LINEAR, None),
        _card("FlowMatchEulerDiscrete", "Euler's method in rectified flow's time", 1),
        _card("HeunDiscrete", "Heun's method" + LINEAR, 2, _twice, grid=None),
        _card("KDPM2Discrete", "DPM-Solver-2's midpoint in log sigma" + LINEAR, 2, _twice, grid=None),
        _card("KDPM2AncestralDiscrete", "DPM-Solver-2 with ancestral noise" + LINEAR, None, _twice, grid=None),
        _card("LMSDiscrete", "linear multistep in sigma; the step to 0 extrapolates too" + LINEAR, 2),
        _card(
            "PNDM",
            "Runge-Kutta for three steps, then linear multistep; begins as DDIM; its last call stays at the lowest level",
            1,
            lambda n: n + 9,
            grid=None,
            last="stop",
        ),
        _card("SASolver", "stochastic Adams, predictor and corrector; stops at the lowest level" + ROUNDED, None, last="stop"),
        _card("UniPCMultistep", "UniPC of second order; measured 3 where times are not rounded" + ROUNDED, 2),
    )
}
LEFT_OUT = {
    "FlowMatchHeunDiscreteScheduler": "it begins at an infinite level and takes no others",
    "IPNDMScheduler": "it begins at an infinite level and takes no others",
    "DDIMParallelScheduler": "it is DDIMScheduler, for a pipeline that takes many steps at once",
    "DDPMParallelScheduler": "it is DDPMScheduler, for a pipeline that takes many steps at once",
    "UnCLIPScheduler": "diffusers says to take DDPMScheduler instead",
    "RePaintScheduler": "it fills in a masked image",
    **dict.fromkeys(("KarrasVeScheduler", "ScoreSdeVeScheduler"), "its pipeline calls more than one kind of step"),
    **dict.fromkeys(("DDIMInverseScheduler", "DPMSolverMultistepInverseScheduler"), "it goes from images to noise"),
    **dict.fromkeys(
        [f"{name}Scheduler" for name in ("CMStochasticIterative", "FlowMatchLCM", "LCM", "SCM", "TCD")],
        "it samples consistency models",
    ),
    **dict.fromkeys(
        [f"{name}Scheduler" for name in ("Amused", "BlockRefinement", "DiscreteDDIM", "EntropyBound", "VQDiffusion")],
        "it samples tokens",
    ),
    **dict.fromkeys(
        [
            f"{name}Scheduler"
            for name in (
                *("CogVideoXDDIM", "CogVideoXDPM", "DDPMWuerstchen", "FlowMapEulerDiscrete", "HeliosDMD", "Helios"),
                *("LTXEulerAncestralRF", "MiniMaxH3", "Piflow", "RFD4Proteina"),
            )
        ],
        "it is made for one model and its pipeline",
    ),
}
LEAST = {"KDPM2AncestralDiscreteScheduler": 3}
"""Steps of those that fail with fewer."""
