"""Which rows are better, and which of the differences are real: frontier, best of a budget, statistical ties."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

Z = 1.96  # two-sided 95 % of a normal distribution
ROUNDING = 1e-3  # relative: below it two Frechet distances count as equal


def pareto(df: pd.DataFrame, x: str, y: str) -> pd.Series:
    """Whether each row is on the frontier: no other row has both columns smaller or equal and one of them smaller.

    Args:
        df: rows; one without a value in either column is never on the frontier.
        x: a column to be small, such as calls or milliseconds.
        y: another, such as the Frechet distance.

    Returns:
        Booleans on the index of `df`. Equal points are on the frontier together.
    """
    xs, ys = df[x].to_numpy(float), df[y].to_numpy(float)
    front = np.zeros(len(df), bool)
    best = np.inf  # of all rows with a smaller x
    for value in np.unique(xs[~np.isnan(xs) & ~np.isnan(ys)]):
        here = (xs == value) & ~np.isnan(ys)
        low = ys[here].min()
        if low < best:
            front |= here & (ys == low)
            best = low
    return pd.Series(front, index=df.index)


def _influence(row: pd.Series) -> np.ndarray | None:
    """Influence of each image on the Frechet distance, [N]; None if the run kept none that fits."""
    path = Path(row["run"]) / "influence" / f"{row['cell']}.npy"
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return values.astype(np.float64) if values.ndim == 1 and len(values) == row["images"] else None


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
    rounding: float = 0.0

    @property
    def tie(self) -> bool:
        """Whether the difference may be chance (95 %): without a known error it may be, so no win is claimed."""
        return math.isnan(self.se) or abs(self.value) <= max(Z * self.se, self.rounding)


def difference(a: pd.Series, b: pd.Series) -> Difference:
    """How much larger `fd` is in row `b` than in row `a`, with its standard error.

    Rows of the same seed and number of images share their noises: SE = sd(v_b - v_a) / sqrt(N) with the influence values v
    (delta method). Otherwise the rows count as independent and the widths of their intervals add in squares, which is wider.
    """
    value, rounding = float(b["fd"] - a["fd"]), ROUNDING * float(a["fd"])
    if a["seed"] == b["seed"] and a["images"] == b["images"]:
        va, vb = _influence(a), _influence(b)
        if va is not None and vb is not None and len(va) > 1:
            return Difference(value, float(np.std(vb - va, ddof=1) / np.sqrt(len(va))), True, rounding)
    own, other = (float(r["fd_high"] - r["fd_low"]) / (2 * Z) for r in (a, b))
    return Difference(value, float(np.hypot(own, other)), False, rounding)


def log_ratio(a: pd.Series, b: pd.Series) -> Difference:
    """As `difference`, of the logarithms of both rows' `fd`, which must be above 0 (delta method); without rounding."""
    x, y = float(a["fd"]), float(b["fd"])
    value = math.log(y / x)
    if a["seed"] == b["seed"] and a["images"] == b["images"]:
        va, vb = _influence(a), _influence(b)
        if va is not None and vb is not None and len(va) > 1:
            return Difference(value, float(np.std(vb / y - va / x, ddof=1) / np.sqrt(len(va))), True)
    own, other = (float(r["fd_high"] - r["fd_low"]) / (2 * Z * float(r["fd"])) for r in (a, b))
    return Difference(value, float(np.hypot(own, other)), False)


@dataclass(frozen=True)
class Winner:
    """The best row of a selection by `fd`, and the index labels of the rows that tie with it."""

    row: pd.Series
    ties: list[int]
    paired: int
    compared: int


def winner(rows: pd.DataFrame) -> Winner | None:
    """The smallest `fd` (at equal values fewer calls, then the name), with its ties; None if no row has one."""
    rows = rows[rows["fd"].notna()].sort_values(["fd", "counted.calls", "label"], kind="stable")
    if rows.empty:
        return None
    best, rest = rows.iloc[0], rows.iloc[1:]
    found = {index: difference(best, row) for index, row in rest.iterrows()}
    ties = [int(str(index)) for index, d in found.items() if d.tie]
    return Winner(best, ties, sum(d.paired for d in found.values()), len(found))


def coinciding(rows: pd.DataFrame) -> Sequence[str]:
    """Solvers whose one-call rows have equal `fd` (to a thousandth), the largest such set; empty if fewer than two."""
    once = rows[(rows["counted.calls"] == 1) & rows["fd"].notna() & rows["student.name"].isna()]
    sets = [sorted(set(once["label"][np.isclose(once["fd"], fd, rtol=ROUNDING)])) for fd in once["fd"]]
    largest = max(sets, key=len, default=[])
    return largest if len(largest) > 1 else []
