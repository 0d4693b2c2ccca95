"""How far two rows' Frechet distances lie apart, and whether that may be chance."""

import math
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtri

Z = float(ndtri(0.975))  # two-sided 95 % of a normal distribution
ROUNDING = 1e-3  # relative: below it two Frechet distances count as equal
FAR = 2.0
"""Times the sum of two intervals' half widths, from which on a difference is told from chance without reading the influence of
each image: a paired standard error is at most the sum of the two, and half of this allows for intervals that are narrower."""

File = tuple[str, int]
"""A path, and when the file was last changed, in nanoseconds."""


def _file(run: str, cell: str) -> File | None:
    """Where a run keeps the influence of each image of a cell; None if it does not."""
    path = os.path.join(run, "influence", f"{cell}.npy")
    try:
        return path, os.stat(path).st_mtime_ns
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=256)
def _influence(file: File, images: int) -> np.ndarray | None:
    """Influence of each image on the Frechet distance, [N]; None if the file holds none that fits."""
    try:  # mapped: a forged header asks for more than the file has
        values = np.array(np.load(file[0], allow_pickle=False, mmap_mode="r"), dtype=np.float32)
    except (OSError, ValueError, TypeError, EOFError):
        return None
    return values if values.ndim == 1 and len(values) == images else None


@lru_cache(maxsize=1 << 16)
def _paired(a: File, b: File, images: int, x: float, y: float) -> float | None:
    """The standard error of a difference of scores, over their scales x and y, from the influence of the same images."""
    va, vb = _influence(a, images), _influence(b, images)
    if va is None or vb is None or images < 2:
        return None
    return float(np.std(vb.astype(np.float64) / y - va.astype(np.float64) / x, ddof=1) / np.sqrt(images))


@dataclass(frozen=True)
class Difference:
    """Difference of two rows' Frechet distances.

    Attributes:
        value: second minus first.
        se: its standard error, NaN if neither influence values nor intervals are there.
        paired: whether it comes from the same images' noises.
        rounding: what float32 arithmetic in another order can make of equal images.
    """

    value: float
    se: float
    paired: bool
    rounding: float

    @property
    def known(self) -> bool:
        """Whether its error is known, so that it can be tested at all."""
        return not math.isnan(self.se)

    @property
    def tie(self) -> bool:
        """Whether the difference may be chance (95 %): without a known error it may be, so no win is claimed."""
        return not abs(self.value) > max(Z * self.se, self.rounding)  # NaN is above and below nothing


def difference(a: pd.Series, b: pd.Series) -> Difference:
    """How much larger `fd` is in row `b` than in row `a`, with its standard error.

    Rows of the same seed and number of images share their noises: SE = sd(v_b - v_a) / sqrt(N) with the influence values v
    (delta method). Otherwise the rows count as independent and the widths of their intervals add in squares, which is wider.
    """
    return _difference(a, b, float(b["fd"] - a["fd"]), (1.0, 1.0), ROUNDING * float(a["fd"]))


def log_ratio(a: pd.Series, b: pd.Series) -> Difference:
    """As `difference`, of the logarithms of both rows' `fd`, which must be above 0 (delta method); without rounding."""
    x, y = float(a["fd"]), float(b["fd"])
    return _difference(a, b, math.log(y / x), (x, y), 0.0)


def _difference(a: pd.Series, b: pd.Series, value: float, scales: tuple[float, float], rounding: float) -> Difference:
    """A difference whose standard error is that of both rows' `fd`, each over its scale."""
    x, y = scales
    if a["seed"] == b["seed"] and a["images"] == b["images"]:
        first, second = (_file(r["run"], r["cell"]) for r in (a, b))
        if first and second and (se := _paired(first, second, int(a["images"]), x, y)) is not None:
            return Difference(value, se, True, rounding)
    own, other = (float(r["fd_high"] - r["fd_low"]) / (2 * Z * scale) for r, scale in ((a, x), (b, y)))
    return Difference(value, float(np.hypot(own, other)), False, rounding)


def differences(a: pd.Series, rows: pd.DataFrame) -> pd.DataFrame:
    """As `difference`, of many rows from row `a`: columns value, known, tie and paired, on their index."""
    value = (rows["fd"] - a["fd"]).to_numpy(float)
    own, others = (np.asarray(r["fd_high"] - r["fd_low"], float) / (2 * Z) for r in (a, rows))
    se = np.hypot(own, others)
    first = _file(a["run"], a["cell"])
    paired = ((rows["seed"] == a["seed"]) & (rows["images"] == a["images"])).to_numpy() & (first is not None) & _kept(rows)
    told = np.abs(value) > FAR * Z * (own + others)
    places = np.flatnonzero(paired & ~told)
    for place, run, cell in zip(places, rows["run"].iloc[places], rows["cell"].iloc[places], strict=True):
        second = _file(run, cell)
        found = _paired(first, second, int(a["images"]), 1.0, 1.0) if first and second else None
        paired[place] = found is not None
        se[place] = se[place] if found is None else found
    tie = ~(np.abs(value) > np.fmax(Z * se, ROUNDING * float(a["fd"])))
    tie |= np.isnan(se)
    return pd.DataFrame({"value": value, "known": ~np.isnan(se), "tie": tie, "paired": paired}, index=rows.index)


def _kept(rows: pd.DataFrame) -> np.ndarray:
    """Whether the runs keep the influence of each image of these rows, as far as the names of their files tell."""
    found = np.zeros(len(rows), dtype=bool)
    for run in rows["run"].unique():
        if cells := _cells(run):
            found |= ((rows["run"] == run) & rows["cell"].isin(cells)).to_numpy()
    return found


def _cells(run: str) -> frozenset[str]:
    """The cells whose images' influence a run keeps."""
    folder = Path(run) / "influence"
    try:
        return _listing(folder, folder.stat().st_mtime_ns)
    except (OSError, ValueError):
        return frozenset()


@lru_cache(maxsize=64)
def _listing(folder: Path, changed: int) -> frozenset[str]:
    """The files in a folder that last changed then, without their ending."""
    return frozenset(name.removesuffix(".npy") for name in os.listdir(folder))
