"""A scheduler's settings: which process a network was trained on. Its fields decide, not its class's name.

`shift`, spacing, Karras levels and the like are of a sampler's grid, not of the network, and say nothing here.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from samplers.errors import UserError, clipped, foreign, one_line, unknown
from samplers.models.diffusers.source import library
from samplers.models.foreign.preconditioning import FAR, ONE_CALL, Geometric, Process
from samplers.models.scaling import Scaling, consistency, edm, flow, time_of, vp
from samplers.schedule import DiscreteVP, Flow, Power

BETAS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
PREDICTIONS = {"epsilon": "eps", "sample": "x", "v_prediction": "v"}
LEVELS = ("sigma_min", "sigma_max", "sigma_data")
TIMED = {
    "CMStochasticIterativeScheduler": lambda levels: consistency(levels["sigma_min"], levels["sigma_data"]),
    "KarrasEDMScheduler": lambda levels: edm(levels["sigma_data"], consistency().c_noise),
    "EDMEulerScheduler": lambda levels: edm(levels["sigma_data"]),
    "EDMDPMSolverMultistepScheduler": lambda levels: edm(levels["sigma_data"]),
}
"""Schedulers of EDM's coordinates, which have the same fields but tell the network different times."""
UNKNOWN = {"timestep_type": "continuous", "invert_sigmas": True}
"""Fields that tell the network another time, and their values that do."""

SCORE = Scaling("ve", lambda x, s: (x + 1) / 2, lambda x, s, f: x + s * f, lambda s: s / 2)
"""ScoreSDE (arXiv 2011.13456): images in [0, 1], where levels are half of ours; F is such a level by the score."""


def process_of(told: Mapping[str, Any], flow_time: Callable[[Any], Any] | None = None) -> Process:
    """The process of a scheduler's settings.

    Args:
        told: `scheduler_config.json`.
        flow_time: a rectified flow's t to the network's time; None: t of the scheduler's `num_train_timesteps` steps.

    Raises:
        UserError: settings of none that is known; says what they lack.
    """
    name = told.get("_class_name")
    prediction = told.get("prediction_type")
    for key, value in UNKNOWN.items():
        if told.get(key) == value:
            raise UserError(f"the scheduler's {key} {clipped(value)} is not known; bring the model as python:MODULE:FUNCTION")
    if "FlowMatch" in str(name) or prediction == "flow_prediction" or told.get("use_flow_sigmas"):
        steps = told.get("num_train_timesteps", 1000)
        time = flow_time or (lambda t: steps * t)
        return Process(Flow(), flow(lambda s: time(s / (1 + s))))
    if all(k in told for k in LEVELS):
        if name not in TIMED:
            raise unknown("scheduler with sigma_data", name, TIMED)
        levels = {k: _number(told, k) for k in LEVELS}
        scaling = TIMED[name](levels)
        if prediction not in (None, "epsilon", "v_prediction"):
            raise unknown("prediction_type of EDM's", prediction, ("epsilon", "v_prediction"))
        if prediction == "v_prediction":
            scaling = negated(scaling)
        note = ONE_CALL if scaling.name == "consistency" else ""
        return Process(Power(levels["sigma_min"], levels["sigma_max"], _number(told, "rho", 7.0)), scaling, note)
    if "snr" in told:  # of the corrector that ScoreSdeVeScheduler has
        return Process(Geometric(2 * _number(told, "sigma_min"), 2 * _number(told, "sigma_max")), SCORE)
    if all(told.get(k) is None for k in ("beta_start", "beta_schedule", "trained_betas")):
        raise UserError(
            f"scheduler {one_line(name, 60)} tells neither betas, nor sigma_data, nor a flow; known are those of DDPM, "
            "EDM, consistency models, ScoreSDE's VE and flow matching: save the model with one of them"
        )
    if prediction not in (None, *PREDICTIONS):
        raise unknown("prediction_type", prediction, PREDICTIONS)
    schedule, note = discrete(told)
    return Process(schedule, vp(PREDICTIONS[prediction or "epsilon"], time_of(schedule)), note)


def negated(scaling: Scaling) -> Scaling:
    """EDM's scaling of a network that gives -F, which at the scale of EDM's input is v = alpha eps - sigma x0."""
    return replace(scaling, name="v", leave=lambda x, s, f: scaling.leave(x, s, -f))


def discrete(told: Mapping[str, Any]) -> tuple[DiscreteVP, str]:
    """The table of a scheduler with betas, and how it was cut.

    A last level that is infinite (zero terminal SNR), or far above the one before it (the cosine's, 20291 after 642), is left
    out: no solver starts there.

    Raises:
        UserError: betas that are none.
    """
    scheduler = library("diffusers", "'sampler-bench[diffusers]'").DDPMScheduler
    given = {k: told[k] for k in BETAS if told.get(k) is not None}
    if "timesteps" in told and "num_train_timesteps" not in told:
        given["num_train_timesteps"] = told["timesteps"]  # before diffusers 0.3
    steps = given.get("num_train_timesteps", 1000)
    if type(steps) is not int or not 2 <= steps <= 100_000:
        raise UserError(f"the scheduler's num_train_timesteps is {clipped(steps)}; it must be a whole number from 2 on")
    with foreign("the scheduler's betas make no schedule", "compare scheduler_config.json with diffusers' DDPMScheduler"):
        table = (1 - scheduler(**given).betas.double()).cumprod(0).tolist()
        *most, last = table
        cut = DiscreteVP(most)
        if last == 0:
            return cut, "its last noise level, infinity, is left out"
        whole = DiscreteVP(table)
    if whole.sigma_max > FAR * cut.sigma_max:
        return cut, f"its last noise level, {whole.sigma_max:.0f}, is left out"
    return whole, ""


def _number(told: Mapping[str, Any], key: str, default: float | None = None) -> float:
    value = told.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"the scheduler's {key} is {clipped(value)}; it must be a number")
    return float(value)
