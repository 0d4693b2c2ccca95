"""The metrics of a set of generated images, from an extractor's features and logits.

The Frechet distance is our own (`bench.quality.frechet`); the others are torch-fidelity's functions on features, which equal
its `calculate_metrics` without its workers and its cache.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.quality.extractor import Extractor
from bench.quality.frechet import Moments, frechet_distance, influence, interval
from samplers.errors import UserError, unknown

METRICS = {
    "fd": "Frechet distance of the features to the training split's (lower is better; biased upwards in 1/images)",
    "kid": "kernel distance to the training split, unbiased in the number of images (lower is better)",
    "prc": "precision and recall: share inside the other side's manifold (higher is better; as many as the reference keeps)",
    "isc": "inception score with the extractor's classes (higher is better; knows nothing of the reference)",
}
LIBRARY = frozenset({"kid", "prc", "isc"})
"""Those that torch-fidelity computes."""
KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000
PRC_LIMIT = 10_000
ISC_SPLITS = 10
Array = np.ndarray | Tensor
Entry = dict[str, float | int | str | None]
"""{"value", "ci_low", "ci_high", "n", "extractor_sha256", "reference_sha256"}; the interval is of 95 %, None where unknown."""


class Scores(NamedTuple):
    """What `score` returns: a record's `quality`, and the Frechet distance's influence values [N] (None if not asked for)."""

    quality: dict[str, Entry]
    influence: np.ndarray | None


def check_metrics(metrics: Sequence[str], images: int) -> None:
    """Refuse metrics that are not in METRICS, that need more images than there are, or a package that is not there.

    Raises:
        UserError: any of them.
    """
    for metric in metrics:
        if metric not in METRICS:
            raise unknown("metric", metric, METRICS)
    least = ISC_SPLITS if "isc" in metrics else 4 if "prc" in metrics else 2
    if images < least:
        raise UserError(f"{', '.join(metrics)} needs at least {least} images, not {images}; ask for more with --images")
    if not LIBRARY.isdisjoint(metrics):
        try:  # now, not when all images are made
            import torch_fidelity  # noqa: F401
        except ImportError as e:
            asked = ", ".join(sorted(LIBRARY.intersection(metrics)))
            raise UserError(f"{asked} needs torch-fidelity, which does not load ({e}); install it") from e


def score(features: Array, logits: Array, extractor: Extractor, metrics: Sequence[str], seed: int) -> Scores:
    """Score images by their features [N, D] and logits [N, K], float32, both from `extractor`.

    Names are KIND_EXTRACTOR: fd_mnist, kid_mnist, precision_mnist and recall_mnist (of "prc"), is_mnist (of "isc"). The same
    seed gives the same figures; torch's global generator is left as it was.

    Args:
        features: one row an image.
        logits: one row an image.
        extractor: gives the reference.
        metrics: names in METRICS.
        seed: of the subsets and splits that KID and the inception score draw, 0 <= seed < 2**32.

    Raises:
        UserError: an unknown metric, or fewer images than one of them needs.
    """
    features, logits, n = _on_cpu(features), _on_cpu(logits), len(features)
    check_metrics(metrics, n)
    quality: dict[str, Entry] = {}
    influences = None

    def add(kind: str, value: float, ends: tuple[float, float] | None, images: int = n) -> None:
        low, high = ends or (None, None)
        quality[f"{kind}_{extractor.name}"] = {
            "value": value,
            "ci_low": low,
            "ci_high": high,
            "n": images,
            "extractor_sha256": extractor.sha256,
            "reference_sha256": None if kind == "is" else extractor.reference_sha256,
        }

    if "fd" in metrics:
        moments = Moments.of(features)
        distance = frechet_distance(moments, extractor.reference)
        influences = influence(features, moments, extractor.reference)
        # The delta method is too far off below ten images a feature to print.
        add("fd", distance, interval(distance, influences) if n >= 10 * features.shape[1] else None)
    with torch.random.fork_rng(devices=[]):
        if "kid" in metrics:
            # torch-fidelity's deviation is over overlapping subsets: not a standard error, so not an interval.
            add("kid", kid(features, extractor.reference_features, seed), None)
        if "prc" in metrics:
            # As many on both sides: then two samples of one distribution have equal precision and recall.
            images = min(n, len(extractor.reference_features), PRC_LIMIT)
            precision, recall = precision_recall(features[:images], extractor.reference_features[:images])
            add("precision", precision, wilson(round(precision * images), images), images)
            add("recall", recall, None, images)
        if "isc" in metrics:
            add("is", *inception_score(logits, seed))
    return Scores(quality, influences)


def kid(features: Tensor, reference: Tensor, seed: int) -> float:
    """Kernel distance (arXiv 1801.01401: cubic kernel, mean over 100 subsets) of features [N, D] to [R, D].

    Subsets are of 1,000, or of the smaller side where that has fewer.
    """
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    size = min(KID_SUBSET_SIZE, len(features), len(reference))
    options = {"kid_subsets": KID_SUBSETS, "kid_subset_size": size, "rng_seed": seed, "verbose": False}
    return kid_features_to_metric(features, reference, **options)[KEY_METRIC_KID_MEAN]


def precision_recall(features: Tensor, reference: Tensor) -> tuple[float, float]:
    """(precision, recall) of features [N, D] against [R, D] (arXiv 1904.06991, third nearest neighbours)."""
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    found = prc_features_to_metric(features, reference, save_cpu_ram=True, verbose=False)
    return found[KEY_METRIC_PRECISION], found[KEY_METRIC_RECALL]


def inception_score(logits: Tensor, seed: int) -> tuple[float, tuple[float, float]]:
    """The inception score (arXiv 1606.03498, mean over ten splits) of logits [N, K], N >= 10, and its 95 % interval.

    The splits are disjoint, so their spread gives the interval (Student's t): of the score of N / 10 images.
    """
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

    found = isc_features_to_metric(logits, splits=ISC_SPLITS, rng_seed=seed)
    mean, deviation = found[KEY_METRIC_ISC_MEAN], found[KEY_METRIC_ISC_STD]
    half = 2.262 * deviation / math.sqrt(ISC_SPLITS - 1)  # t of 9 degrees; the deviation is divided by N, not by N - 1
    return mean, (max(mean - half, 1.0), mean + half)


def label_agreement(logits: Array, labels: Array, extractor: Extractor) -> Entry:
    """How often the extractor sees the class [N] that was asked for, by its logits [N, K]; the interval is Wilson's."""
    right, n = int((_on_cpu(logits).argmax(dim=1) == _on_cpu(labels)).sum()), len(labels)
    low, high = wilson(right, n)
    entry: Entry = {"value": right / n, "ci_low": low, "ci_high": high, "n": n}
    return entry | {"extractor_sha256": extractor.sha256, "reference_sha256": None}


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion of n >= 1 trials."""
    z, p = 1.959964, successes / n
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max((centre - half) / (1 + z * z / n), 0.0), min((centre + half) / (1 + z * z / n), 1.0)


def _on_cpu(values: Array) -> Tensor:
    return torch.as_tensor(values).detach().cpu()
