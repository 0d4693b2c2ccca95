import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from bench.quality.frechet import frechet_distance, influence, interval, standard_error
from bench.quality.moments import Moments
from bench.quality.reference import Reference
from samplers.errors import UserError


def gaussian(n, d, seed, scale=1.0):
    """Correlated features [n, d] with a mean of their own."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(100 + d).standard_normal((d, d)) * np.logspace(0, -2, d)
    return torch.from_numpy(rng.standard_normal((n, d)) @ mix * scale + 0.1 * scale)


def given_moments(mean, cov, n=1_000_000):
    return Moments.from_tensors({"mean": torch.as_tensor(mean), "cov": torch.as_tensor(cov), "n": torch.tensor(n)})


def nuclear(a, b):
    """The distance from the features themselves by singular values: exact for singular covariances too."""
    a, b = a.numpy(), b.numpy()
    shift = a.mean(0) - b.mean(0)
    a, b = (x - x.mean(0) for x in (a, b))
    a, b = a / np.sqrt(len(a) - 1), b / np.sqrt(len(b) - 1)
    return shift @ shift + (a**2).sum() + (b**2).sum() - 2 * np.linalg.svd(a @ b.T, compute_uv=False).sum()


@pytest.mark.parametrize("n", [100, 2000])
@pytest.mark.parametrize("d", [1, 7, 64])
def test_distance_agrees_with_scipy_sqrtm(n, d):
    a, b = gaussian(n, d, 1, scale=1.3), gaussian(1500, d, 2)
    cov_a, cov_b = (np.atleast_2d(np.cov(x.numpy(), rowvar=False)) for x in (a, b))
    shift = a.numpy().mean(0) - b.numpy().mean(0)
    expected = shift @ shift + np.trace(cov_a) + np.trace(cov_b) - 2 * np.trace(sqrtm(cov_a @ cov_b)).real
    assert frechet_distance(Moments.of(a), Reference(Moments.of(b))) == pytest.approx(expected, rel=1e-7)


def test_distance_agrees_with_torch_fidelity():
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    a, b = gaussian(500, 48, 1, scale=1.2), gaussian(800, 48, 2)
    statistics = [fid_features_to_statistics(x) for x in (a, b)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(Moments.of(a), Reference(Moments.of(b))) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(("n", "r"), [(2, 300), (20, 300), (300, 20), (15, 20), (64, 65)])
def test_distance_is_exact_for_fewer_images_than_features(n, r):
    a, b = gaussian(n, 64, 1, scale=1.2), gaussian(r, 64, 2)
    assert frechet_distance(Moments.of(a), Reference(Moments.of(b))) == pytest.approx(nuclear(a, b), rel=1e-11)


@pytest.mark.parametrize("dead", [(5,), (3, 0, 17)])
def test_features_that_never_vary_do_no_harm(dead):
    a, b = gaussian(400, 32, 1, scale=1.2), gaussian(500, 32, 2)
    a[:, dead], b[:, dead] = 0.5, 0.25
    sample, reference = Moments.of(a), Reference(Moments.of(b))
    value = frechet_distance(sample, reference)
    assert value == pytest.approx(nuclear(a, b), rel=1e-7)
    assert np.isfinite(influence(a, sample, reference)).all()


def test_closed_form_of_diagonal_gaussians():
    rng = np.random.default_rng(0)
    m1, m2, s1, s2 = rng.standard_normal(16), rng.standard_normal(16), rng.uniform(0.01, 3, 16), rng.uniform(0.01, 3, 16)
    value = frechet_distance(given_moments(m1, np.diag(s1**2)), Reference(given_moments(m2, np.diag(s2**2))))
    assert value == pytest.approx(((m1 - m2) ** 2 + (s1 - s2) ** 2).sum(), rel=1e-12)


def test_distance_to_itself_is_zero_and_never_negative():
    for seed in range(10):
        moments = Moments.of(gaussian(60, 32, seed))
        assert 0 <= frechet_distance(moments, Reference(moments)) < 1e-9


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 1500), max_size=6), st.sampled_from([torch.float32, torch.float64]))
def test_streamed_moments_equal_one_shot_at_any_split(sizes, dtype):
    n = sum(sizes) + 2
    # A mean far from 0, where sums of squares lose digits.
    features = (gaussian(n, 5, 3) + 1000).to(dtype)
    moments = Moments(5)
    for part in features.split([*sizes, 2]):
        moments.update(part)
    assert moments.n == n
    np.testing.assert_allclose(moments.mean, features.double().numpy().mean(0), rtol=1e-13)
    expected = np.cov(features.double().numpy(), rowvar=False)
    np.testing.assert_allclose(moments.cov, expected, rtol=1e-9, atol=1e-12 * np.trace(expected))


def test_features_of_any_float_kind_are_taken():
    features = gaussian(50, 3, 0).bfloat16()
    np.testing.assert_array_equal(Moments.of(features).cov, Moments.of(features.float()).cov)


def test_stored_moments_come_back():
    moments = Moments.of(gaussian(100, 9, 0))
    again = Moments.from_tensors(moments.to_tensors())
    assert again.n == 100
    np.testing.assert_array_equal(again.mean, moments.mean)
    np.testing.assert_allclose(again.cov, moments.cov, rtol=1e-14)
    more = gaussian(50, 9, 1)
    moments.update(more)
    again.update(more)
    np.testing.assert_allclose(again.cov, moments.cov, rtol=1e-12)


@pytest.mark.parametrize("n", [0, 1])
def test_a_covariance_needs_two_images(n):
    with pytest.raises(UserError, match=f"at least 2 images, not {n}"):
        _ = Moments.of(gaussian(n, 4, 0)).cov


def test_dimensions_must_match():
    with pytest.raises(ValueError, match="dimension 4"):
        Moments(4).update(torch.zeros(3, 5))
    with pytest.raises(ValueError, match="dimension 4, the reference's 5"):
        frechet_distance(Moments.of(gaussian(10, 4, 0)), Reference(Moments.of(gaussian(10, 5, 0))))


def test_influence_is_the_derivative_in_each_image_weight():
    a = gaussian(400, 6, 1, scale=1.3)
    sample, reference = Moments.of(a), Reference(Moments.of(gaussian(500, 6, 2)))
    v = influence(a, sample, reference)
    x = a.numpy()

    def weighted(i, eps):
        w = np.full(400, (1 - eps) / 400)
        w[i] += eps
        mean = w @ x
        return frechet_distance(given_moments(mean, (x - mean).T @ ((x - mean) * w[:, None]) * 400 / 399), reference)

    for i in (0, 17, 399):
        slope = (weighted(i, 1e-5) - weighted(i, -1e-5)) / 2e-5
        assert slope == pytest.approx(v[i] - v.mean(), rel=0.01, abs=0.01 * v.std())


def test_influence_with_fewer_images_than_features_is_finite():
    a = gaussian(20, 64, 1)
    v = influence(a, Moments.of(a), Reference(Moments.of(gaussian(500, 64, 2))))
    assert v.shape == (20,)
    assert np.isfinite(v).all()


@pytest.mark.parametrize(("scale", "shift"), [(1.15, 0.0), (1.0, 0.3), (0.9, 0.1)])
def test_standard_error_agrees_with_simulation(scale, shift):
    d, n = 8, 200
    reference = Reference(Moments.of(gaussian(20_000, d, 10_000)))
    values, errors, covered = [], [], 0
    for seed in range(300):
        a = gaussian(n, d, seed, scale) + shift
        sample = Moments.of(a)
        values.append(frechet_distance(sample, reference))
        errors.append(standard_error(influence(a, sample, reference)))
    for value, error in zip(values, errors, strict=True):
        covered += abs(value - np.mean(values)) < 1.96 * error
    ratio = np.mean(errors) / np.std(values)
    assert 1 / 1.2 < ratio < 1.5
    assert covered / 300 > 0.88


def test_paired_difference_is_sharper_than_its_parts():
    """Two samples that differ by little per image: the error of the difference, against simulation and the unpaired one."""
    d, n = 8, 200
    reference = Reference(Moments.of(gaussian(20_000, d, 10_000)))
    differences, paired, unpaired = [], [], []
    for seed in range(200):
        a = gaussian(n, d, seed, 1.2)
        b = a * 1.03 + 0.01
        (ma, mb) = Moments.of(a), Moments.of(b)
        va, vb = influence(a, ma, reference), influence(b, mb, reference)
        differences.append(frechet_distance(mb, reference) - frechet_distance(ma, reference))
        paired.append(standard_error(vb - va))
        unpaired.append(np.hypot(standard_error(va), standard_error(vb)))
    assert 1 / 1.5 < np.mean(paired) / np.std(differences) < 1.5
    assert np.mean(paired) < 0.5 * np.mean(unpaired)


def test_interval_is_clipped_at_zero():
    low, high = interval(0.1, np.array([-10.0, 10.0, -10.0, 10.0]))
    assert low == 0
    assert high == pytest.approx(0.1 + 1.96 * np.sqrt(400 / 3) / 2)
