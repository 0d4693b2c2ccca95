"""Statistics of reference images that others published: means and covariances of features, in the files of five tools."""

import codecs
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.quality.extractor import Extractor
from bench.quality.moments import Moments
from bench.quality.pictures import arrays_of
from samplers.errors import UserError, one_line
from samplers.models.foreign.pickles import read_pickle

SUFFIXES = (".npz", ".pkl", ".pt", ".pth")
OTHER_RESIZE = re.compile(r"_clean_|-dinov2-vit-")
"""In the names of files of clean-fid's mode "clean" and torch-fidelity's DINOv2, whose resize is not that of our extractors."""
OTHERS = re.compile(r"-(vgg16|clip-[\w-]+?|dinov2-[\w-]+?)-(?:stat-fid|features)-")
"""Extractors in the names of torch-fidelity's files, but for its Inception."""

_REBUILD = np.zeros(0).__reduce__()[0]
ARRAYS: list[Any] = [np.ndarray, np.dtype, *(type(np.dtype(k)) for k in ("f4", "f8")), codecs.encode]
ARRAYS += [(_REBUILD, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")]
"""All that a file of torch.save may name besides tensors: what arrays of numbers are made of."""


class Statistics(NamedTuple):
    """Of a reference: its moments, how many images they are of (None where nobody says), and features [R, D] or none."""

    moments: Moments
    images: int | None
    features: Tensor


def is_statistics(path: Path) -> bool:
    """Whether a file holds statistics, by its name and, of an npz, by its keys."""
    return path.suffix in SUFFIXES and path.is_file() and (path.suffix != ".npz" or "mu" in arrays_of(path))


def read_statistics(path: Path, extractor: Extractor) -> Statistics:
    """Statistics in the features of `extractor`, of which the file need not tell.

    Reads `mu` and `sigma` of an npz (EDM, guided-diffusion, clean-fid) or of a pickle (EDM2's, which has them in two
    extractors' features), and torch-fidelity's cached statistics or features. Nothing that a file names is run.

    Raises:
        UserError: a file that cannot be read or holds something else, or statistics of another extractor or dimension.
    """
    told = one_line(path)
    if not extractor.gives_fid and extractor.name.startswith("inception"):
        raise UserError(f"{told} is of Inception's published weights; extractor '{extractor.name}' has others")
    if OTHER_RESIZE.search(path.name):
        raise UserError(f"{told}: its images were resized in another way than '{extractor.resize}'; name the images themselves")
    if found := OTHERS.search(path.name):
        raise UserError(f"{told} is of extractor {found[1]}, not of '{extractor.name}'; name the images themselves")
    held = _content(path, extractor)
    if isinstance(held, Tensor) and held.ndim == 2 and len(held) > 1 and held.is_floating_point():
        statistics = Statistics(Moments.of(held), len(held), held.float())
    elif isinstance(held, Mapping) and held.keys() >= {"mu", "sigma"}:
        images = held.get("num_images")
        moments = _moments(told, held["mu"], held["sigma"], images)
        statistics = Statistics(moments, images if isinstance(images, int) else None, torch.empty(0, 0))
    else:
        raise UserError(f"{told} holds no statistics (mu [D] and sigma [D, D]); name another file, or images")
    dim = len(statistics.moments.mean)
    if extractor.dimensions not in (None, dim):
        raise UserError(
            f"{told} has statistics of {dim} dimensions, extractor '{extractor.name}' gives {extractor.dimensions} features; "
            "it is of another extractor"
        )
    return statistics


def _content(path: Path, extractor: Extractor) -> Any:
    """A dictionary with `mu` and `sigma`, a tensor of features, or something else."""
    if path.suffix == ".pkl":
        held = read_pickle(path)
        if isinstance(held, Mapping) and isinstance(held.get("fid"), Mapping):
            part = held.get("fid" if extractor.gives_fid else f"fd_{extractor.name}")
            if not isinstance(part, Mapping):
                keys = ", ".join(one_line(k) for k, v in held.items() if isinstance(v, Mapping))
                raise UserError(f"{one_line(path)} has statistics {keys}, none of extractor '{extractor.name}'")
            return {**part, "num_images": held.get("num_images")}
        return held
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {key: arrays[key] for key in ("mu", "sigma") if key in arrays}
        with torch.serialization.safe_globals(ARRAYS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as e:
        raise UserError(f"no statistics at {one_line(path)} ({e.strerror}); name a file that is there") from e
    except (ValueError, KeyError, EOFError, RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile) as e:
        raise UserError(f"{one_line(path)} holds no statistics that can be read ({one_line(e)}); fetch it again") from e


def _moments(told: str, mu: Any, sigma: Any, images: Any) -> Moments:
    mean, cov = (np.asarray(v) for v in (mu, sigma))
    if not all(v.dtype.kind == "f" for v in (mean, cov)) or mean.ndim != 1 or cov.shape != (len(mean), len(mean)):
        raise UserError(f"{told}: mu is {list(mean.shape)} and sigma {list(cov.shape)}; statistics are [D] and [D, D] numbers")
    mean, cov = mean.astype(np.float64), cov.astype(np.float64)
    if not np.isfinite(mean).all() or not np.isfinite(cov).all() or not np.allclose(cov, cov.T) or (cov.diagonal() < 0).any():
        raise UserError(f"{told}: sigma is no covariance, or not finite; fetch the file again")
    n = images if isinstance(images, int) and images > 1 else len(mean) + 1  # of unknown number: no bound of the rank
    stored = {"mean": torch.from_numpy(mean), "cov": torch.from_numpy(cov), "n": torch.tensor(n)}
    return Moments.from_tensors(stored)
