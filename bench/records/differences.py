"""How far two rows' Frechet distances lie apart, and whether that may be chance."""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

Z = float(norm.ppf(0.975))  # two-sided 95 % of a normal distribution
ROUNDING = 1e-3  # relative: below it two Frechet distances count as equal


def _influence(row: pd.Series) -> np.ndarray | None:
    """Influence of each image on the Frechet distance, [N]; None if the run kept none that fits."""
    path = Path(row["run"]) / "influence" / f"{row['cell']}.npy"
    try:
        values = _kept(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, EOFError):
        return None
    return values.astype(np.float64) if values.ndim == 1 and len(values) == row["images"] else None


@lru_cache(maxsize=256)
def _kept(path: Path, changed: int) -> np.ndarray:
    """The array of a file that was last changed then: one row is compared with many."""
    return np.array(np.load(path, allow_pickle=False, mmap_mode="r"))  # mapped: a forged header asks for more than the file has


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
        va, vb = _influence(a), _influence(b)
        if va is not None and vb is not None and len(va) > 1:
            return Difference(value, float(np.std(vb / y - va / x, ddof=1) / np.sqrt(len(va))), True, rounding)
    own, other = (float(r["fd_high"] - r["fd_low"]) / (2 * Z * scale) for r, scale in ((a, x), (b, y)))
    return Difference(value, float(np.hypot(own, other)), False, rounding)
