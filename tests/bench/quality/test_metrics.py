import sys

import numpy as np
import pytest
import torch
from fidelity import register
from torch.utils.data import Dataset

from bench.quality.extractor import load_extractor
from bench.quality.fidelity import inception_score, kid, precision_recall
from bench.quality.frechet import frechet_distance, influence, standard_error
from bench.quality.metrics import check_metrics, label_agreement
from bench.quality.metrics import score as score_sample
from bench.quality.moments import Moments
from bench.quality.reference import Reference, find_reference
from bench.quality.sample import Sample
from samplers.errors import UserError

METRICS = ["fd", "kid", "prc", "isc"]
KEYS = ["value", "ci_low", "ci_high", "n", "extractor_sha256", "reference_sha256"]
KEYS += ["resize", "rounding", "dimensions", "reference_name", "reference_n"]


class Images(Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i]


@pytest.fixture(scope="module")
def mnist():
    return load_extractor("mnist")


@pytest.fixture(scope="module")
def real(mnist):
    return find_reference(mnist)


def score(features, logits, extractor, metrics, seed):
    """With the extractor's own reference."""
    return score_sample(Sample.of(features, logits), extractor, find_reference(extractor), metrics, seed)


def random_images(n, seed, channels=1, brightest=256):
    shape = (n, channels, 32, 32)
    return torch.randint(0, brightest, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def near_reference(extractor, n, seed, noise=0.3):
    """Features and logits [n, ...] like those of good samples: the reference's own, disturbed."""
    generator = torch.Generator().manual_seed(seed)
    rows = find_reference(extractor).features[torch.randperm(5000, generator=generator)[:n]]
    features = rows + noise * torch.randn(rows.shape, generator=generator)
    return features, extractor.network.head(features)


# ---------------------------------------------------------------- against torch-fidelity


def test_functions_equal_calculate_metrics_bit_for_bit(mnist):
    from torch_fidelity import calculate_metrics

    one, two = random_images(80, 1), random_images(96, 2, brightest=200)
    theirs = calculate_metrics(
        input1=Images(one),
        input2=Images(two),
        feature_extractor=register(mnist),
        fid=True,
        kid=True,
        prc=True,
        isc=True,
        kid_subset_size=80,
        rng_seed=7,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
        batch_size=96,
    )
    (f1, logits), (f2, _) = mnist(one), mnist(two)
    assert kid(f1, f2, 7) == theirs["kernel_inception_distance_mean"]
    assert precision_recall(f1, f2) == (theirs["precision"], theirs["recall"])
    assert inception_score(logits, 7)[0] == theirs["inception_score_mean"]
    # Theirs takes the mean in float32.
    ours = frechet_distance(Moments.of(f1), Reference(Moments.of(f2)))
    assert ours == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)


# ---------------------------------------------------------------- score


def test_score_gives_an_entry_for_each_metric(mnist, real):
    features, logits = near_reference(mnist, 700, 0)
    quality, influences = score(features, logits, mnist, METRICS, 0)
    assert list(quality) == ["fd_mnist", "kid_mnist", "precision_mnist", "recall_mnist", "is_mnist"]
    assert all(list(entry) == KEYS for entry in quality.values())
    assert {e["n"] for e in quality.values()} == {700}
    assert {e["extractor_sha256"] for e in quality.values()} == {mnist.sha256}
    moments = Moments.of(features)
    fd = quality["fd_mnist"]
    assert fd["value"] == frechet_distance(moments, real)
    assert list(influences) == ["fd"]
    np.testing.assert_array_equal(influences["fd"], influence(features, moments, real))
    assert fd["ci_high"] == pytest.approx(fd["value"] + 1.96 * standard_error(influences["fd"]))
    assert quality["kid_mnist"]["ci_low"] is None
    for name in ("precision_mnist", "is_mnist"):
        assert quality[name]["ci_low"] <= quality[name]["value"] <= quality[name]["ci_high"]
    assert quality["is_mnist"]["reference_sha256"] is None
    assert quality["fd_mnist"]["reference_sha256"] == real.sha256


def test_scores_are_those_of_the_first_version(mnist):
    """So that records of then and now can be compared: names, order, values and intervals."""
    features, logits = near_reference(mnist, 700, 0)
    quality, influences = score(features, logits, mnist, METRICS, 0)
    quality["label_agreement"] = label_agreement(logits, torch.arange(700) % 10, mnist)
    expected = {
        "fd_mnist": (5.264276688864866, 2.3137362852654175, 8.214817092464315),
        "kid_mnist": (-1.47627044769495, None, None),
        "precision_mnist": (0.8799999952316284, 0.8538293373786757, 0.9020226990239181),
        "recall_mnist": (0.9285714030265808, None, None),
        "is_mnist": (9.212287128691084, 9.064601308324034, 9.359972949058134),
        "label_agreement": (0.09714285714285714, 0.07735247860033798, 0.12133070085255143),
    }
    assert list(quality) == list(expected)
    for name, values in expected.items():
        entry = quality[name]
        hashes = (mnist.sha256, None if name in ("is_mnist", "label_agreement") else mnist.reference_file[1])
        assert (entry["extractor_sha256"], entry["reference_sha256"]) == hashes
        for key, value in zip(("value", "ci_low", "ci_high"), values, strict=True):
            assert entry[key] is None if value is None else entry[key] == pytest.approx(value, rel=1e-5)
    assert influences["fd"].std() == pytest.approx(39.80009260753718, rel=1e-5)


def test_metrics_order_good_and_bad_samples(mnist):
    good, bad = (score(*near_reference(mnist, 300, 1, noise), mnist, METRICS, 0).quality for noise in (0.05, 2.0))
    assert good["fd_mnist"]["value"] < bad["fd_mnist"]["value"]
    assert good["kid_mnist"]["value"] < bad["kid_mnist"]["value"]
    for name in ("precision_mnist", "is_mnist"):
        assert good[name]["value"] > bad[name]["value"]
    # Samples of one class: what they show is right, but they miss the rest.
    features, _ = near_reference(mnist, 5000, 2, 0.05)
    one = features[mnist.network.head(features).argmax(1) == 3][:300]
    found = score(one, mnist.network.head(one), mnist, ["prc"], 0).quality
    assert found["precision_mnist"]["value"] > found["recall_mnist"]["value"] + 0.2


def test_score_is_reproducible_and_leaves_the_global_generator_alone(mnist):
    features, logits = near_reference(mnist, 100, 0)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = score(features, logits, mnist, METRICS, 11)
    assert torch.equal(torch.get_rng_state(), before)
    assert score(features.numpy(), logits.numpy(), mnist, METRICS, 11).quality == first.quality
    assert score(features, logits, mnist, ["isc"], 12).quality["is_mnist"] != first.quality["is_mnist"]


def test_few_images(mnist):
    features, logits = near_reference(mnist, 40, 0)
    quality, influences = score(features, logits, mnist, METRICS, 0)
    assert all(np.isfinite(entry["value"]) for entry in quality.values())
    assert quality["fd_mnist"]["ci_low"] is None  # fewer than ten images a feature
    assert len(influences["fd"]) == 40
    for metrics, least in ((["isc"], 10), (["prc"], 4), (["fd"], 2), (["kid"], 2)):
        with pytest.raises(UserError, match=f"at least {least} images, not {least - 1}; give it more .of a run: --images."):
            score(features[: least - 1], logits[: least - 1], mnist, metrics, 0)
        score(features[:least], logits[:least], mnist, metrics, 0)


def test_a_package_that_is_missing_is_told_before_the_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    check_metrics(["fd"], 100)
    with pytest.raises(UserError, match=r"prc needs torch-fidelity, which does not load .*; install it"):
        check_metrics(["fd", "prc", "isc"], 100)


def test_only_what_is_asked_for(mnist):
    quality, influences = score(*near_reference(mnist, 20, 0), mnist, ["kid"], 0)
    assert list(quality) == ["kid_mnist"]
    assert not influences


def test_unknown_metric_names_the_nearest(mnist):
    with pytest.raises(UserError, match="unknown metric 'kidd'; did you mean 'kid'"):
        check_metrics(["fd", "kidd"], 100)
    with pytest.raises(UserError, match="fid is the distance in published Inception's features, not in those of 'mnist'; ask"):
        score(*near_reference(mnist, 20, 0), mnist, ["fid"], 0)


# ---------------------------------------------------------------- label agreement


def test_label_agreement_counts_the_asked_classes(mnist):
    logits = torch.eye(10)[torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 8])]
    found = label_agreement(logits.numpy(), np.arange(10), mnist)
    assert list(found) == KEYS
    assert (found["value"], found["n"]) == (0.9, 10)
    assert found["ci_low"] < 0.9 < found["ci_high"] < 1
