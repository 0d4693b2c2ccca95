"""What a metric is, which are installed, and a set of generated images scored by some of them.

Metrics are entry points of the group `bench.metrics`, ours (`bench.quality.frechet`, `bench.quality.fidelity`) and strangers'
alike: a class without arguments, or an object.
"""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from scipy.stats import binomtest

from bench.quality.extractor import Extractor, ReadsTexts
from bench.quality.images import ROUNDING
from bench.quality.moments import Moments
from bench.quality.reference import Reference
from bench.quality.sample import Array, Sample
from samplers.errors import UserError, foreign
from samplers.registry import entries, load_entry

GROUP = "bench.metrics"
FEATURES, LOGITS, LABELS, TEXTS = "features", "logits", "labels", "texts"
REFERENCE_MOMENTS, REFERENCE_FEATURES = "reference moments", "reference features"
COMPARED = frozenset({REFERENCE_MOMENTS, REFERENCE_FEATURES})
INCEPTION, OTHERS = "Inception's features", "features of another extractor than Inception"
NEEDS = COMPARED | {FEATURES, LOGITS, LABELS, TEXTS, INCEPTION, OTHERS}
Entry = dict[str, float | int | str | None]
"""The keys of `bench.records.schema.Score`; the interval is of 95 %, None where unknown."""


class Score(NamedTuple):
    """What a metric finds: a value with its 95 % interval (None where unknown), of n images, and each image's share in it.

    `influence` [N]: the standard error of the value is their standard deviation over sqrt(N); that of a difference of two
    samplers on the same noises is that of the difference of theirs. None where the metric has no such thing.
    """

    value: float
    ci_low: float | None
    ci_high: float | None
    n: int
    influence: np.ndarray | None = None


@runtime_checkable
class Metric(Protocol):
    """A way to score images.

    Attributes:
        name: what `--metrics` calls it, and its entry point.
        outputs: names of its scores, letters and digits; a record has them as OUTPUT_EXTRACTOR ("fd_mnist").
        better: where its scores are better.
        description: a line for `bench list`.
        needs: of NEEDS, what it takes from the sample and the reference; the rest may be missing or empty.
        per_feature: the fewest images for each of the extractor's features; may be left out, for 0.
    """

    name: str
    outputs: tuple[str, ...]
    better: Literal["lower", "higher"]
    description: str
    needs: frozenset[str]

    def check(self, images: int) -> None:
        """Refuse what can be known to fail before any image is made.

        Raises:
            UserError: too few images, or a package that is not there.
        """

    def score(self, sample: Sample, reference: Reference, seed: int) -> dict[str, Score]:
        """A score for each of `outputs`; the same seed, 0 <= seed < 2**32, gives the same."""


class Scores(NamedTuple):
    """What `score` returns: a record's `quality`, and by output ("fd") the influence values [N] of those that have them."""

    quality: dict[str, Entry]
    influences: dict[str, np.ndarray]


def metric_names() -> list[str]:
    """Names of all installed metrics, sorted."""
    return list(entries(GROUP))


def load_metric(name: str) -> Metric:
    """A metric by its name.

    Raises:
        UserError: an unknown name, or a plug-in that cannot be imported or is no metric.
    """
    found = load_entry(GROUP, name)
    with foreign(f"metric '{name}' cannot be made", "its class must take no argument"):
        metric = found() if isinstance(found, type) else found
        fits = isinstance(metric, Metric) and metric.name == name.rpartition(":")[2] and metric.better in ("lower", "higher")
        fits = fits and isinstance(metric.outputs, tuple) and metric.needs <= NEEDS
        if fits and metric.outputs and all(re.fullmatch("[a-z][a-z0-9]*", o) for o in metric.outputs):
            return metric
    raise UserError(f"'{name}' is no metric; compare its name, outputs, better and needs with bench.quality.metrics.Metric")


def at_least(least: int, images: int, name: str) -> None:
    """Refuse fewer images than metric `name` can score.

    Raises:
        UserError: there are fewer.
    """
    if images < least:
        raise UserError(f"{name} needs at least {least} images, not {images}; give it more (of a run: --images)")


def check_metrics(metrics: Sequence[str], images: int) -> None:
    """Refuse metrics that are not installed, that need more images than there are, or a package that is not there.

    Raises:
        UserError: any of them, or two metrics that give a score of the same name.
    """
    given: dict[str, str] = {}
    for metric in [load_metric(name) for name in dict.fromkeys(metrics)]:
        metric.check(images)
        for output in metric.outputs:
            if output in given:
                raise UserError(f"metrics {given[output]} and {metric.name} both give '{output}'; ask for one of them")
            given[output] = metric.name


def compares_features(metrics: Sequence[str]) -> bool:
    """Whether one of them needs features of single images of the reference."""
    return any(REFERENCE_FEATURES in load_metric(name).needs for name in metrics)


def check_needs(
    metrics: Sequence[str],
    extractor: Extractor,
    reference: Reference,
    labelled: bool,
    images: int | None = None,
    *,
    prompted: bool = False,
) -> None:
    """Refuse metrics that need what an extractor, a reference or the images do not have, and a reference of another extractor.

    Raises:
        UserError: any of them.
    """
    for name in metrics:
        metric = load_metric(name)
        needs, least = metric.needs, getattr(metric, "per_feature", 0) * (extractor.dimensions or 0)
        if images is not None and images < least:
            said = f"{name} needs at least {least:,} images of the {extractor.dimensions:,} features of '{extractor.name}'"
            raise UserError(f"{said}, not {images:,}; give it more (of a run: --images), or leave it out")
        if LOGITS in needs and extractor.classes is None:
            raise UserError(f"{name} needs logits, which extractor '{extractor.name}' does not give; leave it out of --metrics")
        if INCEPTION in needs and not extractor.gives_fid:
            said = f"{name} is the distance in published Inception's features, not in those of '{extractor.name}'"
            raise UserError(f"{said}; ask for fd, or --extractor inception")
        if OTHERS in needs and extractor.gives_fid:
            raise UserError(f"in Inception's features {name} is called FID; ask for {name.replace('fd', 'fid')}")
        if TEXTS in needs and not (prompted and isinstance(extractor, ReadsTexts)):
            said = f"{name} needs prompts that images are made of, and an extractor that reads them"
            raise UserError(f"{said}; give --prompts and --extractor clip:OWNER/NAME")
        if LABELS in needs and not labelled:
            raise UserError(f"{name} needs labels; ask for --labels balanced and a teacher with classes")
        if not needs & COMPARED:
            continue
        if reference.key is not None and reference.key.extractor != extractor.sha256:
            raise UserError(f"the reference is of another extractor than '{extractor.name}'; make one with this extractor")
        there = {REFERENCE_MOMENTS: reference.moments.n >= 2, REFERENCE_FEATURES: len(reference.features) > 0}
        if missing := [n for n, found in there.items() if n in needs and not found]:
            had = f"which extractor '{extractor.name}' comes without; name a --reference, or leave it out"
            if reference.name is not None:
                had = f"which {reference.name} does not hold; name images as --reference, or leave it out"
            raise UserError(f"{name} needs {missing[0]}, {had}")


def score(sample: Sample, extractor: Extractor, reference: Reference, metrics: Sequence[str], seed: int) -> Scores:
    """Score images by what `extractor` saw in them.

    Names are OUTPUT_EXTRACTOR, in the order in which metrics are asked for: fd_mnist, kid_mnist, precision_mnist and
    recall_mnist (of "prc"), is_mnist (of "isc"). The same seed gives the same figures; torch's global generator is left as it
    was.

    Args:
        sample: features and logits from `extractor`.
        extractor: whose name and hash the scores carry.
        reference: what is compared with.
        metrics: names of `metric_names`.
        seed: of the subsets and splits that metrics draw, 0 <= seed < 2**32.

    Raises:
        UserError: an unknown metric, fewer images than one of them needs, or something else that one needs and is not there.
        ValueError: a metric that does not give the scores that it promises.
    """
    check_metrics(metrics, sample.n)
    labelled, prompted = (v is not None for v in (sample.labels, sample.texts))
    check_needs(metrics, extractor, reference, labelled, sample.n, prompted=prompted)
    dim = sample.dimensions
    if reference.moments.n and len(reference.moments.mean) != dim:
        said = f"the features have dimension {dim}, the reference's {len(reference.moments.mean)}"
        raise UserError(f"{said}; it is of another extractor, name one of '{extractor.name}'")
    quality: dict[str, Entry] = {}
    influences: dict[str, np.ndarray] = {}
    for metric in map(load_metric, dict.fromkeys(metrics)):
        with torch.random.fork_rng(devices=[]):
            found = metric.score(sample, reference, seed)
        if found.keys() != set(metric.outputs) or not all(np.isfinite(s.value) for s in found.values()):
            raise ValueError(f"metric '{metric.name}' promises finite {', '.join(metric.outputs)} and gives {found}")
        for output in metric.outputs:
            s = found[output]
            quality[f"{output}_{extractor.name}"] = _entry(s, extractor, reference if metric.needs & COMPARED else None, dim)
            if s.influence is not None:
                influences[output] = s.influence
    return Scores(quality, influences)


def label_agreement(logits: Array, labels: Array, extractor: Extractor) -> Entry:
    """How often the extractor sees the class [N] that was asked for, by its logits [N, K]; the interval is Wilson's."""
    seen = torch.as_tensor(logits).detach().cpu().argmax(dim=1)
    right, n = int((seen == torch.as_tensor(labels).cpu()).sum()), len(labels)
    return _entry(Score(right / n, *wilson(right, n), n), extractor, None)


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion of n >= 1 trials."""
    found = binomtest(successes, n).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def _entry(found: Score, extractor: Extractor, reference: Reference | None, dimensions: int | None = None) -> Entry:
    ends = {"value": found.value, "ci_low": found.ci_low, "ci_high": found.ci_high, "n": found.n}
    real = reference or Reference(Moments(0))
    key = {"extractor_sha256": extractor.sha256, "reference_sha256": real.sha256}
    made = {"resize": extractor.resize, "rounding": ROUNDING, "dimensions": dimensions}
    return {**ends, **key, **made, "reference_name": real.name, "reference_n": real.images}
