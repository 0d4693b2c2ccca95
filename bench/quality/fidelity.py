"""Metrics that torch-fidelity computes, by its functions on features: they equal its `calculate_metrics` without its workers
and its cache. Imported when asked for: it takes a second.
"""

import math
from itertools import pairwise

import numpy as np
from scipy.stats import t
from torch import Tensor

from bench.quality.metrics import FEATURES, LOGITS, REFERENCE_FEATURES, Score, at_least, wilson
from bench.quality.reference import Reference
from bench.quality.sample import Sample
from samplers.errors import UserError, one_line

KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000
PRC_LIMIT = 10_000
PRC_BLOCK = 1000
"""Features whose distances to all others are in memory at once."""
ISC_SPLITS = 10


class _Fidelity:
    """What its metrics have in common: the fewest images that they score, and the package."""

    name: str
    least: int

    def check(self, images: int) -> None:
        at_least(self.least, images, self.name)
        try:  # now, not when all images are made
            import torch_fidelity  # noqa: F401
        except ImportError as e:
            raise UserError(f"{self.name} needs torch-fidelity, which does not load ({one_line(e)}); install it") from e


class KernelDistance(_Fidelity):
    """The metric `kid`."""

    name, least = "kid", 2
    outputs = ("kid",)
    better = "lower"
    description = "kernel distance to the reference, unbiased in the number of images"
    needs = frozenset({FEATURES, REFERENCE_FEATURES})

    def score(self, sample: Sample, reference: Reference, seed: int) -> dict[str, Score]:
        # torch-fidelity's deviation is over overlapping subsets: not a standard error, so not an interval.
        return {"kid": Score(kid(sample.features, reference.features, seed), None, None, len(sample.features))}


class PrecisionRecall(_Fidelity):
    """The metric `prc`."""

    name, least = "prc", 4
    outputs = ("precision", "recall")
    better = "higher"
    description = "precision and recall: share inside the other side's manifold (as many images as the reference keeps)"
    needs = frozenset({FEATURES, REFERENCE_FEATURES})

    def score(self, sample: Sample, reference: Reference, seed: int) -> dict[str, Score]:
        # As many on both sides: then two samples of one distribution have equal precision and recall.
        n = min(len(sample.features), len(reference.features), PRC_LIMIT)
        precision, recall = precision_recall(sample.features[:n], reference.features[:n])
        ends = wilson(round(precision * n), n)
        return {"precision": Score(precision, *ends, n), "recall": Score(recall, None, None, n)}


class InceptionScore(_Fidelity):
    """The metric `isc`, with the extractor's classes."""

    name, least = "isc", ISC_SPLITS
    outputs = ("is",)
    better = "higher"
    description = "inception score with the extractor's classes (knows nothing of the reference)"
    needs = frozenset({LOGITS})

    def score(self, sample: Sample, reference: Reference, seed: int) -> dict[str, Score]:
        assert sample.logits is not None
        value, ends = inception_score(sample.logits, seed)
        return {"is": Score(value, *ends, len(sample.logits))}


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

    options = {"prc_batch_size": PRC_BLOCK, "save_cpu_ram": True, "verbose": False}
    found = prc_features_to_metric(features, reference, **options)
    return found[KEY_METRIC_PRECISION], found[KEY_METRIC_RECALL]


def inception_score(logits: Tensor, seed: int) -> tuple[float, tuple[float, float]]:
    """The inception score (arXiv 1606.03498, mean over ten splits) of logits [N, K], N >= 10, and its 95 % interval.

    The splits are disjoint, so their spread gives the interval (Student's t): of the score of N / 10 images.
    """
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    order = np.random.RandomState(seed).permutation(len(logits))
    ends = [i * len(logits) // ISC_SPLITS for i in range(ISC_SPLITS + 1)]
    # A split at a time: of all at once it would hold five copies in float64.
    splits = [logits[order[a:b]] for a, b in pairwise(ends)]
    scores = [isc_features_to_metric(s, splits=1, shuffle=False)[KEY_METRIC_ISC_MEAN] for s in splits]
    mean = float(np.mean(scores))
    half = float(t.ppf(0.975, ISC_SPLITS - 1)) * float(np.std(scores, ddof=1)) / math.sqrt(ISC_SPLITS)
    return mean, (max(mean - half, 1.0), mean + half)
