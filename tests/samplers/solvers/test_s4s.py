"""A solver fitted to its teacher: it finds what there is to find, is better on other noises too, and tells what it took."""

import pytest
import torch
from exact import Gaussian, Mixture

import samplers
from samplers import UserError
from samplers.schedule import GRIDS
from samplers.solvers import s4s, s4s_fitting
from samplers.solvers.s4s_fitting import Method, _changed, fitted, second_order, walk

METHOD = Method((80.0, 3.0, 0.6, 0.1, 0.002), ((), (0.2,), (-0.4, 0.1), (0.3, -0.2, 0.05)))


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))


def noise(denoiser, count: int = 16, seed: int = 0) -> torch.Tensor:
    return samplers.noise(seed, range(count), denoiser.shape, dtype=torch.float64)


def test_it_finds_a_method_that_makes_the_images(monkeypatch):
    monkeypatch.setattr(s4s_fitting, "ROUNDS", 60)
    monkeypatch.setattr(s4s_fitting, "ENOUGH", 0.0)
    denoiser = Mixture()
    z = noise(denoiser)
    target = walk(METHOD, denoiser, [80 * z], [])[0][-1]
    starts = [second_order((80.0, *inner, 0.002)) for inner in ((40.0, 20.0, 10.0), (5.0, 0.4, 0.07))]
    found, error = fitted(starts, denoiser, z, target, free=range(1, 4), lowest=0.002)
    images = walk(found, denoiser, [80 * z], [])[0][-1]
    assert error == pytest.approx(float((images - target).norm() / target.norm()), abs=1e-12)
    assert error < 2e-4


def test_levels_that_are_not_free_stay_and_none_falls_below_the_lowest():
    denoiser = Mixture()
    z = noise(denoiser)
    target = walk(METHOD, denoiser, [80 * z], [])[0][-1]
    start = second_order((80.0, 5.0, 0.4, 0.2, 0.0))
    assert fitted([start], denoiser, z, target, free=(), lowest=0.15)[0].levels == start.levels
    found, _ = fitted([start], denoiser, z, target, free=range(1, 4), lowest=0.15)
    assert found.levels[-2] >= 0.15
    assert found.levels != start.levels
    assert (found.levels[0], found.levels[-1], found.weights[-1]) == (80.0, 0.0, (0.0, 0.0, 0.0))


@pytest.mark.parametrize("where", [(1, -1), (3, -1), (1, 0), (3, 2)])
def test_a_changed_number_costs_the_calls_after_it_and_gives_the_same_images(where):
    denoiser, calls = Mixture(), []
    model = lambda x, s: calls.append(s) or denoiser(x, s)  # noqa: E731
    z = noise(denoiser)
    xs, denoised = walk(METHOD, model, [80 * z], [])
    calls.clear()
    found = _changed(METHOD, where, model, xs, denoised)
    assert len(calls) == 4 - where[0] - (where[1] >= 0)
    torch.testing.assert_close(found, walk(METHOD.changed(where, 0.01), denoiser, [80 * z], [])[0][-1])


def test_it_begins_at_dpmpp_2m():
    denoiser = Mixture()
    z, levels = noise(denoiser), samplers.get("dpmpp_2m:grid=karras").levels(denoiser, 7)
    made = walk(second_order(levels), denoiser, [80 * z], [])[0][-1]
    torch.testing.assert_close(made, samplers.get("dpmpp_2m:grid=karras").sample(denoiser, z, steps=7))


def error(spec: str, denoiser, steps: int) -> float:
    """Relative, on noises that no fit saw."""
    z = noise(denoiser, 100)
    exact = samplers.get("unipc:grid=logsnr:end=0.002").sample(denoiser, z, steps=200)
    return float((samplers.get(spec).sample(denoiser, z, steps=steps) - exact).norm() / exact.norm())


@pytest.mark.parametrize(("steps", "times"), [(3, 5), (5, 1.2)])
def test_it_is_nearer_than_any_fixed_grid_on_other_noises(steps, times):
    denoiser = Mixture()
    fixed = min(error(f"{name}:grid={g}:end=0.002", denoiser, steps) for name in ("ipndm", "dpmpp_2m", "deis") for g in GRIDS)
    assert error("s4s", denoiser, steps) < fixed / times
    assert error("s4s:grid=karras", denoiser, steps) < error("dpmpp_2m:grid=karras:end=0.002", denoiser, steps)
    assert error("s4s:last=denoise", denoiser, steps) < error("dpmpp_2m:grid=karras:end=0.002:last=denoise", denoiser, steps)


def test_options():
    denoiser = Gaussian()
    assert samplers.get("s4s:end=0.1").levels(denoiser, 4)[-1] == 0.1
    zero = samplers.get("s4s:last=denoise").levels(denoiser, 4)
    assert zero[-1] == 0
    assert zero[-2] > 0.002
    assert samplers.get("s4s:end=0.1:last=denoise").levels(denoiser, 4)[-2] == 0.1
    karras = samplers.get("s4s:grid=karras")
    assert karras.levels(denoiser, 4) == samplers.sigmas(samplers.Cosine(0.002, 80.0), 4, "karras", last="stop")
    assert (karras.grid, samplers.get("s4s").grid) == ("karras", "s4s")


class Counting(Gaussian):
    """A teacher with a hash that counts its forwards."""

    sha256 = "a" * 64

    def __init__(self):
        super().__init__()
        self.forwards = 0

    def __call__(self, x, sigma, labels=None):
        self.forwards += len(x)
        return super().__call__(x, sigma)


def test_what_it_took_is_a_training():
    denoiser, solver = Counting(), samplers.get("s4s")
    assert solver.student is None
    solver.prepare(denoiser, "cpu", 3)
    student = solver.student
    assert (student.name, student.noise_seeds, student.labels) == ("s4s", (s4s.SEED,), "any")
    assert student.training["cost"]["teacher_forwards"] == denoiser.forwards
    assert student.training["seconds"] == student.training["cost"]["seconds"] > 0
    assert not solver.card.training


def test_it_is_kept_by_the_teacher_s_hash_for_each_number_of_steps_and_setting(tmp_path):
    first, again = samplers.get("s4s"), Counting()
    first.prepare(Counting(), "cpu", 3)
    second = samplers.get("s4s")
    second.prepare(again, "cpu", 3)
    assert again.forwards == 0
    assert (second.student, second.levels(again, 3)) == (first.student, first.levels(again, 3))
    z = noise(again, 2)
    assert torch.equal(second.sample(again, z, steps=3), first.sample(again, z, steps=3))
    for spec, steps in (("s4s", 4), ("s4s:grid=logsnr", 3), ("s4s:end=0.1", 3), ("s4s:last=denoise", 3)):
        again.forwards = 0
        samplers.get(spec).prepare(again, "cpu", steps)
        assert again.forwards > 0
    other = Counting()
    other.sha256 = "b" * 64
    second.prepare(other, "cpu", 3)
    assert other.forwards > 0
    for path in tmp_path.glob("s4s-*"):
        path.write_bytes(b"damaged")
    again.forwards = 0
    samplers.get("s4s").prepare(again, "cpu", 3)
    assert again.forwards > 0


def test_refusals():
    denoiser = Gaussian()
    with pytest.raises(UserError, match="s4s cannot take 11 steps; it takes 1, 2"):
        samplers.get("s4s").sample(denoiser, noise(denoiser, 2), steps=11)
    with pytest.raises(UserError, match="s4s fits its own grid to the teacher; leave out grid=gits"):
        samplers.get("s4s:grid=gits")
    with pytest.raises(UserError, match="no walk ends at sigma 1e-05 here"):
        samplers.get("s4s:end=0.00001").prepare(denoiser, "cpu", 4)
    with pytest.raises(UserError, match="over the levels that it was fitted on, no others"):
        samplers.get("s4s").integrate(denoiser, noise(denoiser, 2), [80.0, 1.0, 0.1])
