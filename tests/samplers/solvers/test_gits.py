"""A grid made for the teacher: cheapest nodes by brute force, costs by making the steps, kept by the teacher's hash."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from exact import Gaussian, Mixture
from hypothesis import given
from hypothesis import strategies as st

import samplers
from samplers import UserError
from samplers.schedule import spaced
from samplers.solvers import gits
from samplers.solvers.adams import IPNDM4


@pytest.fixture(autouse=True)
def _few(monkeypatch, tmp_path):
    monkeypatch.setattr(gits, "NOISES", 6)
    monkeypatch.setattr(gits, "BATCH", 4)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))


@given(st.integers(1, 6), st.integers(0, 10**6))
def test_nodes_are_the_cheapest(steps, seed):
    costs = np.random.default_rng(seed).normal(1.0, 1.0, (7, 7))
    costs[np.tril_indices(7)] = np.inf

    def price(path):
        return sum(gits.GAMMA**k * costs[i, j] for k, (i, j) in enumerate(pairwise(path)))

    every = [(0, *inner, 6) for inner in combinations(range(1, 6), steps - 1)]
    assert price(gits.nodes(costs, steps)) == pytest.approx(min(map(price, every)))


def test_costs_are_those_of_the_steps():
    denoiser = Mixture()
    levels = spaced(samplers.Cosine(0.002, 80.0), 6, "karras", 0.002)
    z = samplers.noise(gits.SEED, range(6), denoiser.shape).double()
    states = [z * levels[0]]
    IPNDM4().integrate(denoiser, z, levels, callback=lambda i, t, x, d: states.append(x))

    def far(x):
        line = (states[-1] - states[0]).flatten(1)
        line = line / line.norm(dim=1, keepdim=True)
        w = (x - states[0]).flatten(1)
        return (w - (w * line).sum(1, keepdim=True) * line).norm(dim=1)

    found = gits._costs(denoiser, levels, torch.device("cpu"))
    for i, j in combinations(range(7), 2):
        x, s = states[i], levels[i]
        landed = x + (levels[j] - s) * (x - denoiser(x, s)) / s
        assert found[i, j] == pytest.approx(float((far(landed) - far(states[j])).mean()), rel=1e-3, abs=1e-4)
    assert np.isinf(gits._forwards(found)[np.tril_indices(7)]).all()


class Counting(Gaussian):
    """A teacher with a hash that counts its calls."""

    sha256 = "a" * 64

    def __init__(self):
        super().__init__()
        self.calls = 0

    def __call__(self, x, sigma, labels=None):
        self.calls += 1
        return super().__call__(x, sigma)


@pytest.mark.parametrize("name", ["ipndm", "dpmpp_2m", "heun", "dpm_solver"])
def test_every_solver_takes_it_and_makes_it_before_it_samples(name):
    denoiser, solver = Counting(), samplers.get(f"{name}:grid=gits")
    assert solver.student is None
    solver.prepare(denoiser, "cpu", 5)
    assert denoiser.calls == 2 * gits.INTERVALS
    z = samplers.noise(0, range(2), denoiser.shape, dtype=torch.float64)
    levels = solver.levels(denoiser, 5)
    assert len(levels) == 6
    assert levels[0] == 80
    assert all(s > t for s, t in pairwise(levels))
    assert levels[-1] == (0 if solver.last == "denoise" else samplers.get(name).levels(denoiser, 5)[-1])
    solver.sample(denoiser, z, steps=5)
    assert denoiser.calls == 2 * gits.INTERVALS + solver.card.calls(5)


def test_it_is_kept_by_the_teacher_s_hash_and_made_for_each_end():
    first = samplers.get("ipndm:grid=gits")
    first.prepare(Counting(), "cpu", 5)
    again = Counting()
    second = samplers.get("dpmpp_2m:grid=gits")
    second.prepare(again, "cpu", 5)
    assert again.calls == 0
    assert second.levels(again, 4) == first.levels(again, 4)
    second = samplers.get("ipndm:grid=gits:end=0.1")
    second.prepare(again, "cpu", 5)
    assert again.calls == 2 * gits.INTERVALS
    other = Counting()
    other.sha256 = "b" * 64
    second.prepare(other, "cpu", 5)
    assert other.calls == 2 * gits.INTERVALS


def test_what_it_took_is_a_training():
    solver = samplers.get("ipndm:grid=gits")
    solver.prepare(Counting(), "cpu", 5)
    student = solver.student
    assert (student.name, student.noise_seeds, student.labels) == ("gits", (gits.SEED,), "any")
    assert student.training["cost"]["teacher_forwards"] == gits.INTERVALS * gits.NOISES
    assert student.training["seconds"] > 0
    assert not solver.card.training


def test_more_steps_than_it_has_are_refused():
    with pytest.raises(UserError, match="grid gits has at most 60 steps between levels, not 61; choose another grid"):
        samplers.get("ipndm:grid=gits").prepare(Counting(), "cpu", 61)
