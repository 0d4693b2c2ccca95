import numpy as np
import pytest
import torch

from bench.quality.extractor import Features
from bench.quality.fidelity import inception_score
from bench.quality.frechet import FrechetDistance, FrechetDistanceOfAll, frechet_distance
from bench.quality.metrics import score
from bench.quality.moments import Moments
from bench.quality.reference import Reference
from bench.quality.sample import Sample
from samplers.errors import UserError

D = 12


class Extractor:
    name, sha256, classes, dimensions, gives_fid, resize = "plain", "0" * 64, 3, D, False, "none"


def mixture(n: int, generator: np.random.Generator) -> torch.Tensor:
    """Skewed features of three classes, one of them rare; the covariance's eigenvalues fall by a hundred."""
    means = np.random.default_rng(0).normal(size=(3, D))
    chosen = generator.choice(3, n, p=[0.6, 0.37, 0.03])
    return torch.from_numpy((means[chosen] + generator.gamma(1.0, size=(n, D)) - 1) * np.logspace(0, -1, D))


@pytest.fixture(scope="module")
def reference() -> Reference:
    moments = Moments.of(1.1 * mixture(200_000, np.random.default_rng(1)))
    return Reference(moments, torch.randn(40, D), None, "f" * 64, "real", 200_000)


def parts_of(features: torch.Tensor, logits: torch.Tensor, size: int):
    return lambda: (Features(f, k) for f, k in zip(features.split(size), logits.split(size), strict=True))


def test_batches_give_the_scores_of_the_whole(reference):
    features = mixture(90, np.random.default_rng(2)).float()
    logits = torch.randn(90, 3, generator=torch.Generator().manual_seed(0))
    asked = ["fd", "fdinf", "kid", "prc", "isc"]
    whole = score(Sample.of(features, logits), Extractor(), reference, asked, 0)
    batched = score(Sample(parts_of(features, logits, 7), 90), Extractor(), reference, asked, 0)
    for name, entry in whole.quality.items():
        other = batched.quality[name]
        ends = dict.fromkeys(("value", "ci_low", "ci_high"))
        assert other | ends == entry | ends
        assert [other[k] for k in ends if entry[k]] == pytest.approx([entry[k] for k in ends if entry[k]], rel=1e-6)
    np.testing.assert_allclose(batched.influences["fd"], whole.influences["fd"], rtol=1e-9)


def test_no_more_features_are_kept_than_metrics_take(monkeypatch):
    monkeypatch.setattr("bench.quality.sample.KEPT", 20)
    features, logits = mixture(90, np.random.default_rng(2)).float(), torch.zeros(90, 3)
    sample = Sample(parts_of(features, logits, 7), 90)
    assert torch.equal(sample.features, features[:20])
    chosen = torch.randperm(90, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Sample(sample.parts, 90, kept=chosen).features, features[chosen[:20]])
    assert sample.moments.n == 90


def test_halves_are_drawn_at_random_and_are_all():
    features, logits = mixture(91, np.random.default_rng(2)), torch.zeros(91, 3)
    sample = Sample(parts_of(features, logits, 7), 91)
    a, b = sample.halves(0)
    assert {a.n, b.n} == {45, 46}
    np.testing.assert_allclose((a.n * a.mean + b.n * b.mean) / 91, sample.moments.mean)
    assert (sample.halves(0)[0].mean == a.mean).all()
    assert (sample.halves(1)[0].mean != a.mean).any()


def test_the_inception_score_is_torch_fidelitys():
    from torch_fidelity.metric_isc import isc_features_to_metric

    logits = 3 * torch.randn(93, 5, generator=torch.Generator().manual_seed(0))
    theirs = isc_features_to_metric(logits, splits=10, rng_seed=7)
    value, (low, high) = inception_score(logits, 7)
    assert value == pytest.approx(theirs["inception_score_mean"], rel=1e-12)
    # Student's t of nine degrees of freedom; theirs is the deviation over 10, not 9.
    assert (high - low) / 2 == pytest.approx(2.2621571628 * theirs["inception_score_std"] / 3, rel=1e-9)


@pytest.mark.parametrize("per_feature", [3, 10])
def test_intervals_cover_in_simulation(reference, per_feature):
    """That of N images their mean; that of infinitely many, from 4 images a feature on, the distance itself."""
    generator, n = np.random.default_rng(3), per_feature * D
    true = frechet_distance(Moments.of(mixture(200_000, generator)), reference)
    found = []
    for seed in range(250):
        sample = Sample.of(mixture(n, generator))
        found.append([m.score(sample, reference, seed)[m.outputs[0]] for m in (FrechetDistance(), FrechetDistanceOfAll())])
    of_n, of_all = ([row[k] for row in found] for k in (0, 1))
    mean = np.mean([s.value for s in of_n])
    assert mean > 1.3 * true  # the bias in 1/N
    assert np.mean([s.ci_low <= mean <= s.ci_high for s in of_n]) > 0.9
    if per_feature >= FrechetDistanceOfAll.per_feature:
        assert abs(np.mean([s.value for s in of_all]) - true) < 0.1 * (mean - true)
        assert np.mean([s.ci_low <= true <= s.ci_high for s in of_all]) > 0.85


def test_the_fewest_images_of_an_interval_and_of_an_extrapolation(reference):
    features = mixture(48, np.random.default_rng(4))
    for n, interval in ((35, False), (36, True)):
        entry = score(Sample.of(features[:n]), Extractor(), reference, ["fd"], 0).quality["fd_plain"]
        assert (entry["ci_low"] is not None) is interval
    told = "fdinf needs at least 48 images of the 12 features of 'plain', not 47; give it more .of a run: --images., or leave"
    with pytest.raises(UserError, match=told):
        score(Sample.of(features[:47]), Extractor(), reference, ["fdinf"], 0)
    assert list(score(Sample.of(features), Extractor(), reference, ["fdinf"], 0).quality) == ["fdinf_plain"]
