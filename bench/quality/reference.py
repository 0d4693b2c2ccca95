"""What samples are compared with: the moments of real images' features and some of the features, found or made."""

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.linalg import lapack
from torch import Tensor

from bench.quality.cache import cache_folder
from bench.quality.extractor import Extractor, features_of
from bench.quality.images import ROUNDING
from bench.quality.moments import Moments
from samplers.errors import UserError
from samplers.models.weights import load_tensors, save_tensors
from samplers.training.data import ImageSet, load_images

KEPT = 10_000
"""Features kept of a reference that is made, as many as precision and recall take."""
BATCH = 500


@dataclass(frozen=True)
class Key:
    """What a reference is of. Scores are comparable where their references' keys are equal.

    Attributes:
        extractor, data: SHA-256 of the extractor's weights, and of the images and labels.
        split: "train", or what else the images were named by.
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
        sha256: of its file where that came with the extractor, of its key where it was made; what records name it by.
    """

    moments: Moments
    features: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    key: Key | None = None
    sha256: str | None = None

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


def find_reference(extractor: Extractor, device: torch.device | str = "cpu") -> Reference:
    """The reference that came with the extractor, or of the real images that it names, made on `device` or from the cache.

    Of an extractor that names neither it is one of no images, which no metric that needs one takes.

    Raises:
        UserError: images or a file that cannot be read, or are of another shape than the extractor's.
    """
    if extractor.reference_file is None:
        if not extractor.reference_images:
            return Reference(Moments(0))
        split = ", ".join(Path(s).name for s in extractor.reference_images)  # the same wherever the files lie
        return make_reference(extractor, load_images(extractor.reference_images), split, device)
    path, sha256 = extractor.reference_file
    moments, features, _ = _read(path, sha256)
    key = Key(extractor.sha256, extractor.data, "train", moments.n, extractor.resize)
    return Reference(moments, features, key, sha256)


def make_reference(extractor: Extractor, data: ImageSet, split: str, device: torch.device | str = "cpu") -> Reference:
    """The reference of images, from the cache where one of the same key is there.

    Raises:
        UserError: fewer than two images, or images that the extractor does not take.
    """
    n = len(data.images)
    key = Key(extractor.sha256, data.sha256, split, n, extractor.resize)
    path = cache_folder() / f"reference-{key.sha256()[:24]}.safetensors"
    if path.exists():
        with contextlib.suppress(UserError):  # a damaged cache is made again
            moments, features, info = _read(path)
            if info == asdict(key):
                return Reference(moments, features, key, key.sha256())
    if n < 2:
        raise UserError(f"a reference needs at least 2 images, {split} has {n}")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))[:KEPT]
    row = torch.full((n,), -1)  # of each image's features in the sample, if they are in it
    row[order] = torch.arange(len(order))
    moments, kept = Moments(0), torch.empty(0, 0)
    for images, rows in zip(data.images.split(BATCH), row.split(BATCH), strict=True):
        found = features_of(extractor, images.to(device)).features.cpu()
        if not moments.n:
            moments, kept = Moments(found.shape[1]), torch.empty(len(order), found.shape[1])
        moments.update(found)
        kept[rows[rows >= 0]] = found[rows >= 0]
    with contextlib.suppress(UserError):  # a cache that cannot be written costs time, not the run
        save_tensors(path, moments.to_tensors() | {"features": kept}, asdict(key))
    return Reference(moments, kept, key, key.sha256())


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
