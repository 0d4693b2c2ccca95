"""What a network's output means: the coefficients of each family, and that a perfect output gives back the image."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from samplers import DiscreteVP, LinearBeta
from samplers.models.scaling import VP, consistency, edm, flow, time_of, ve, vp

D, LOW = 0.5, 0.002
FORMULAS = {
    "x": (vp("x"), lambda s: (0, 1, 1 / math.hypot(1, s), -2 * math.log(s))),
    "eps": (vp("eps"), lambda s: (1, -s, 1 / math.hypot(1, s), -2 * math.log(s))),
    "v": (vp("v"), lambda s: (1 / (1 + s * s), -s / math.hypot(1, s), 1 / math.hypot(1, s), -2 * math.log(s))),
    "ve": (ve(), lambda s: (1, s, 1, math.log(s / 2))),
    "edm": (edm(D), lambda s: (D * D / (s * s + D * D), s * D / math.hypot(s, D), 1 / math.hypot(s, D), math.log(s) / 4)),
    "consistency": (
        consistency(LOW, D),
        lambda s: (
            D * D / ((s - LOW) ** 2 + D * D),
            (s - LOW) * D / math.hypot(s, D),
            1 / math.hypot(s, D),
            1000 * 0.25 * math.log(s + 1e-44),
        ),
    ),
    "flow": (flow(), lambda s: (1 / (1 + s), -s / (1 + s), 1 / (1 + s), s / (1 + s))),
}
"""Family -> (the table's entry, (c_skip, c_out, c_in, c_noise) written out)."""
PERFECT = {
    "x": lambda x0, eps, s: x0,
    "eps": lambda x0, eps, s: eps,
    "v": lambda x0, eps, s: (eps - s * x0) / (1 + s * s).sqrt(),  # alpha eps - sigma_vp x0
    "flow": lambda x0, eps, s: eps - x0,
}
"""What the papers say that a network is trained to output, of the image and the noise."""
levels = st.floats(math.log(0.003), math.log(100)).map(math.exp)


def wide(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None, None, None]


@pytest.mark.parametrize("family", FORMULAS)
@given(s=levels)
def test_coefficients(family, s):
    scaling, formula = FORMULAS[family]
    found = [float(c(wide(s))) for c in (scaling.c_skip, scaling.c_out, scaling.c_in)]
    assert [*found, scaling.c_noise(s)] == pytest.approx(list(formula(s)), rel=1e-9, abs=1e-12)
    assert float(scaling.c_noise(torch.tensor([s], dtype=torch.float64))) == pytest.approx(scaling.c_noise(s), rel=1e-9)


@pytest.mark.parametrize("family", FORMULAS)
@given(s=levels, seed=st.integers(0, 99))
def test_a_perfect_output_gives_back_the_image(family, s, seed):
    scaling, formula = FORMULAS[family]
    x0, eps = torch.randn(2, 3, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    skip, out, _, noise = formula(s)
    x, told = x0 + s * eps, []

    def network(seen, time):
        told.append((seen, time))
        return PERFECT[family](x0, eps, wide(s)) if family in PERFECT else (x0 - skip * x) / out

    torch.testing.assert_close(scaling.denoise(network, x, s), x0, rtol=1e-9, atol=1e-9)
    ((seen, time),) = told
    torch.testing.assert_close(seen, x * formula(s)[2], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(time, torch.full((3,), noise, dtype=torch.float64))


def test_a_consistency_model_is_the_identity_at_sigma_min():
    x = torch.randn(2, 1, 2, 2, dtype=torch.float64)
    assert torch.equal(consistency(LOW).denoise(lambda seen, time: seen * 1e6, x, LOW), x)


@pytest.mark.parametrize("family", FORMULAS)
def test_sigma_as_float_scalar_tensor_and_batch_agree(family):
    scaling, x = FORMULAS[family][0], torch.randn(3, 1, 2, 2)
    own = scaling.denoise(lambda seen, time: seen.sin() + time[:, None, None, None].cos(), x, 1.3)
    for sigma in (torch.tensor(1.3), torch.full((3,), 1.3, dtype=torch.float64)):
        given_so = scaling.denoise(lambda seen, time: seen.sin() + time[:, None, None, None].cos(), x, sigma)
        torch.testing.assert_close(given_so, own, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", VP)
def test_vp_networks_are_rounded_as_all_that_is_stored_was(family):
    """Bit for bit: committed images and counts hang on it."""
    x, f, s = torch.randn(3, 64, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    s = s.exp()
    expected = {"x": f, "eps": x - s * f, "v": (x - s * torch.sqrt(1 + s**2) * f) / (1 + s**2)}[family]
    seen = []
    assert torch.equal(vp(family).denoise(lambda x, _: seen.append(x) or f, x, s.flatten()), expected)
    assert torch.equal(seen[0], x / torch.sqrt(1 + s**2))


def test_a_schedule_s_time_is_what_a_network_may_be_told():
    table = DiscreteVP([0.9, 0.5, 0.1])
    assert time_of(table)(1.0) == pytest.approx(1.0)
    assert time_of(table)(torch.tensor([1 / 3, 1.0, 3.0])).tolist() == pytest.approx([0, 1, 2], abs=1e-6)
    # EDM's VP preconditioning: c_noise = 999 t.
    assert time_of(LinearBeta(), 999)(LinearBeta().sigma(0.3)) == pytest.approx(999 * 0.3)
