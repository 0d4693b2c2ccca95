"""What samples are compared with: the moments of real images' features and some of the features, found or made."""

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.linalg import lapack
from torch import Tensor

from bench.quality.extractor import Extractor, features_of
from bench.quality.images import ROUNDING
from bench.quality.moments import Moments
from bench.quality.pictures import Pictures, arrays_of, open_pictures
from bench.quality.statistics_files import is_statistics, read_statistics
from samplers.cache import cache_folder
from samplers.errors import UserError
from samplers.files import sha256
from samplers.models.weights import load_tensors, save_tensors
from samplers.training.data import load_images

KEPT = 10_000
"""Features kept of a reference that is made, as many as precision and recall take."""
BATCH = 500
Now = Callable[[str], None]
"""Is told what is done."""


@dataclass(frozen=True)
class Key:
    """What a reference is of. Scores are comparable where their references' keys are equal.

    Attributes:
        extractor, data: SHA-256 of the extractor's weights, and of the images and labels.
        split: "train", or what else the images were named by; "" where their content alone counts.
        images: how many.
        resize: how they came to the extractor's size (`Extractor.resize`).
        rounding: how they came to 8 bits (`bench.quality.images.ROUNDING`).
    """

    extractor: str
    data: str | None
    split: str
    images: int
    resize: str
    rounding: str = ROUNDING

    def sha256(self) -> str:
        """Of the key, with the number of features kept."""
        return hashlib.sha256(json.dumps(asdict(self) | {"kept": KEPT}, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Reference:
    """What samples are compared with; what depends on it alone is computed once.

    Attributes:
        moments: of all features.
        features: float32 [R, D], a random sample of them in random order, or none, [0, D].
        key: what it is of; None for moments that came without one.
        sha256: of its file where that came with the extractor or was published, of its key where it was made; what records
            name it by.
        name: what records call it.
        images: how many it is of; None where nobody says.
    """

    moments: Moments
    features: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    key: Key | None = None
    sha256: str | None = None
    name: str | None = None
    images: int | None = None

    @cached_property
    def trace(self) -> float:
        """tr S_r."""
        return float(np.trace(self.moments.cov))

    @cached_property
    def factor(self) -> tuple[np.ndarray, np.ndarray, int]:
        """(L, p, rank): lower triangular L [D, D], zero beyond column `rank`, with L L' = S_r[p][:, p]."""
        c, pivots, rank, _ = lapack.dpstrf(self.moments.cov, lower=1)
        lower = np.asfortranarray(np.tril(c))
        lower[:, rank:] = 0
        return lower, pivots - 1, min(rank, self.moments.n - 1)


def find_reference(
    extractor: Extractor,
    device: torch.device | str = "cpu",
    given: str | None = None,
    *,
    features: bool = True,
    now: Now = lambda _: None,
) -> Reference:
    """What an extractor's scores compare with, made on `device` or from the cache.

    Of an extractor that names neither a file nor images, where nothing is given, it is one of no images, which no metric that
    needs one takes.

    Args:
        extractor: whose features.
        device: of the extractor's network.
        given: images as `open_pictures` takes them, or a file of statistics (`bench.quality.statistics_files`); None for the
            reference that came with the extractor, or is of the real images that it names.
        features: whether features of single images are needed too, which a file of statistics lacks. Where it has images
            beside them (guided-diffusion's), they are these images'.
        now: is told how far it is.

    Raises:
        UserError: images or a file that cannot be read, or are of another shape or kind than the extractor's.
    """
    if given is not None and is_statistics(path := Path(given)):
        found = read_statistics(path, extractor)
        kept = found.features[_sampled(len(found.features))]
        if features and not len(kept) and "arr_0" in arrays_of(path):
            kept = make_reference(extractor, open_pictures(path), "", device, now).features
        return Reference(found.moments, kept, None, sha256(path), path.name, found.images)
    if given is not None:
        now(f"reading {Path(given).name}")
        return make_reference(extractor, open_pictures(given), "", device, now)
    if extractor.reference_file is None:
        if not extractor.reference_images:
            return Reference(Moments(0))
        split = ", ".join(Path(s).name for s in extractor.reference_images)  # the same wherever the files lie
        return make_reference(extractor, Pictures.of(load_images(extractor.reference_images), split), split, device, now)
    path, digest = extractor.reference_file
    moments, kept, _ = _read(path, digest)
    key = Key(extractor.sha256, extractor.data, "train", moments.n, extractor.resize)
    return Reference(moments, kept, key, digest, f"{extractor.name}'s own", moments.n)


def make_reference(
    extractor: Extractor, data: Pictures, split: str, device: torch.device | str = "cpu", now: Now = lambda _: None
) -> Reference:
    """The reference of images, from the cache where one of the same key is there.

    Raises:
        UserError: fewer than two images, or images that the extractor does not take.
    """
    key = Key(extractor.sha256, data.sha256, split, data.n, extractor.resize)
    path = cache_folder() / f"reference-{key.sha256()[:24]}.safetensors"
    if path.exists():
        with contextlib.suppress(UserError):  # a damaged cache is made again
            moments, features, info = _read(path)
            if info == asdict(key):
                return Reference(moments, features, key, key.sha256(), data.name, data.n)
    if data.n < 2:
        raise UserError(f"a reference needs at least 2 images, {data.name} has {data.n}")
    order = _sampled(data.n)
    row = torch.full((data.n,), -1)  # of each image's features in the sample, if they are in it
    row[order] = torch.arange(len(order))
    moments, kept = Moments(0), torch.empty(0, 0)
    first = 0
    for images in data.batches(BATCH):
        now(f"reference: {first:,} of {data.n:,} images of {data.name}")
        rows = row[first : first + len(images)]
        first += len(images)
        found = features_of(extractor, images.to(device)).features.cpu()
        if not moments.n:
            moments, kept = Moments(found.shape[1]), torch.empty(len(order), found.shape[1])
        moments.update(found)
        kept[rows[rows >= 0]] = found[rows >= 0]
    with contextlib.suppress(UserError):  # a cache that cannot be written costs time, not the run
        save_tensors(path, moments.to_tensors() | {"features": kept}, asdict(key))
    return Reference(moments, kept, key, key.sha256(), data.name, data.n)


def _sampled(n: int) -> Tensor:
    """Which of n features are kept, in random order."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(0))[:KEPT]


def _read(path: Path, sha256: str | None = None) -> tuple[Moments, Tensor, dict[str, Any]]:
    """(moments, features, info) of a reference's file.

    Raises:
        UserError: it is missing, damaged, of another hash, or no reference.
    """
    stored, info = load_tensors(path, sha256)
    if not (
        stored.keys() >= {"mean", "cov", "n", "features"} and _fits(*(stored[k] for k in ("mean", "cov", "n", "features")))
    ):
        raise UserError(f"{path} is no reference (mean [D], cov [D, D], n, features [R, D]); fetch the file again")
    return Moments.from_tensors(stored), stored["features"].float(), info


def _fits(mean: Tensor, cov: Tensor, n: Tensor, features: Tensor) -> bool:
    """Whether these can be the moments and some of n features."""
    return (
        mean.ndim == 1
        and all(t.is_floating_point() for t in (mean, cov, features))
        and cov.shape == (len(mean), len(mean))
        and bool((cov.diagonal() >= 0).all())
        and torch.allclose(cov, cov.T)
        and (n.numel(), n.is_floating_point(), n.dtype == torch.bool) == (1, False, False)
        and int(n) >= 2
        and features.ndim == 2
        and features.shape[1] == len(mean)
    )
