"""Which rows are better: frontier, best of a budget, statistical ties."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from bench.records.differences import ROUNDING, differences

COMPARED = ["fd", "fd_low", "fd_high", "seed", "images", "run", "cell", "place"]
"""Columns that tell how two rows stand to each other."""


def pareto(df: pd.DataFrame, x: str, y: str, sign: int = 1, x_ends: tuple[str, str] | None = None) -> pd.Series:
    """Whether each row is on the frontier: what has a better `y` is larger in `x`, and what has an equal one is not smaller.

    Args:
        df: rows; one without a value in either column is never on the frontier.
        x: a column to be small, such as calls or milliseconds.
        y: another, such as the Frechet distance.
        sign: -1 for a `y` to be large (`Ranking.sign`).
        x_ends: columns of the interval around an `x` that was measured: two of them differ where their intervals do not meet.
            A row without an interval differs from none.

    Returns:
        Booleans on the index of `df`. Equal points are on the frontier together.
    """
    xs, ys = df[x].to_numpy(float), sign * df[y].to_numpy(float)
    low, high = (df[c].to_numpy(float) for c in x_ends or (x, x))
    low, high = np.where(np.isnan(low), xs, low), np.where(np.isnan(high), np.inf, high)
    has = np.flatnonzero(~np.isnan(xs) & ~np.isnan(ys))
    front = np.zeros(len(df), dtype=bool)
    if len(has):
        levels, own = np.unique(ys[has], return_inverse=True)
        least_low, least_high = np.full((2, len(levels)), np.inf)
        np.minimum.at(least_low, own, low[has])
        np.minimum.at(least_high, own, high[has])
        better = np.minimum.accumulate(least_low)  # the least x of all that are as good, or better
        front[has] = ((own == 0) | (better[own - 1] > high[has])) & (least_high[own] >= low[has])
    return pd.Series(front, index=df.index)


@dataclass(frozen=True, eq=False)
class Winner:
    """The best row of a selection by `cost`, and how the others were held against it.

    Attributes:
        row: the best row.
        differences: of the others from it, in the order of their `cost` (`bench.records.differences.differences`).
    """

    row: pd.Series
    differences: pd.DataFrame

    @property
    def alone(self) -> bool:
        """Whether there is no other row."""
        return self.differences.empty

    @cached_property
    def ties(self) -> list[int]:
        """The rows whose difference may be chance, or could not be tested."""
        return list(self.differences.index[self.differences["tie"]])

    @cached_property
    def tied(self) -> frozenset[int]:
        """The same, to look up."""
        return frozenset(self.ties)

    @property
    def untested(self) -> list[int]:
        """The rows that could not be tested."""
        return list(self.differences.index[~self.differences["known"]])

    @property
    def tested(self) -> bool:
        """Whether any other row was tested against it: only then it is the best of something."""
        return bool(self.differences["known"].any())

    @property
    def nearer(self) -> list[int]:
        """The rows that are not tied although one farther off is: ties are not transitive."""
        known = self.differences[self.differences["known"]]
        last = max(np.flatnonzero(known["tie"]), default=0)
        return list(known.index[:last][~known["tie"].iloc[:last]])


def first(rows: pd.DataFrame, within: "pd.Series[bool] | bool" = True) -> pd.Series | None:
    """Of rows, or those `within`, the one of the smallest `cost` (of equal ones by `place`); None if none has one."""
    kept = (rows["fd"].notna() & within).to_numpy()
    return rows.iloc[int(np.where(kept, rows["place"], np.inf).argmin())] if kept.any() else None


def winner(rows: pd.DataFrame) -> Winner | None:
    """The `first` of rows with the others; None if no row has a score."""
    best = first(rows)
    if best is None:
        return None
    others = rows[COMPARED][rows["fd"].notna() & (rows.index != best.name)]
    return Winner(best, differences(best, others.sort_values("place")))


def coinciding(rows: pd.DataFrame) -> Sequence[str]:
    """Solvers whose one-call rows have equal `fd` (to a thousandth), the largest such set; empty if fewer than two."""
    to_zero = ~rows["last_step"].eq("stop") if "last_step" in rows else True
    once = rows[(rows["counted.calls"] == 1) & rows["fd"].notna() & rows["student.name"].isna() & to_zero]
    sets = [sorted(set(once["label"][np.isclose(once["fd"], fd, rtol=ROUNDING)])) for fd in once["fd"].unique()]
    largest = max(sets, key=len, default=[])
    return largest if len(largest) > 1 else []
