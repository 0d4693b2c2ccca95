"""Which process the fields of a scheduler tell of, by its formulas; no network is made."""

import json
import math

import diffusers
import pytest

from samplers.models.diffusers.process import process_of
from samplers.schedule import Power


@pytest.mark.parametrize(
    ("scheduler", "steps"),
    [
        (diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=500), 500),
        (diffusers.DPMSolverMultistepScheduler(prediction_type="flow_prediction", flow_shift=3.0), 1000),
        (diffusers.UniPCMultistepScheduler(use_flow_sigmas=True), 1000),
    ],
)
def test_a_flow_is_known_by_its_fields(scheduler, steps):
    found = process_of(json.loads(scheduler.to_json_string()))
    assert found.scaling.name == "flow"
    assert found.scaling.c_noise(3.0) == pytest.approx(0.75 * steps)


def test_steps_by_their_old_name():
    """As schedulers of diffusers 0.1 were saved."""
    told = {"_class_name": "GaussianDDPMScheduler", "timesteps": 200, "beta_start": 1e-4, "beta_end": 0.02}
    kept = diffusers.DDPMScheduler(num_train_timesteps=200).alphas_cumprod[-1].item()
    found = process_of(told)
    assert found.schedule.sigma_max == pytest.approx(math.sqrt((1 - kept) / kept), rel=1e-5)
    assert found.scaling.c_noise(found.schedule.sigma_max) == pytest.approx(199)


def test_the_teacher_of_consistency_models():
    """A scheduler that the library no longer has; the network is told 250 log sigma (arXiv 2303.01469)."""
    told = {"_class_name": "KarrasEDMScheduler", "sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, "rho": 5.0}
    found = process_of(told)
    assert (found.scaling.name, found.note) == ("edm", "")
    assert found.scaling.c_noise(2.0) == pytest.approx(250 * math.log(2.0))
    assert found.schedule == Power(0.002, 80.0, 5.0)
