"""Which rows are better: frontier, best of a budget, statistical ties."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.records.differences import ROUNDING, difference


def pareto(df: pd.DataFrame, x: str, y: str, sign: int = 1) -> pd.Series:
    """Whether each row is on the frontier: no other row has both columns smaller or equal and one of them smaller.

    Args:
        df: rows; one without a value in either column is never on the frontier.
        x: a column to be small, such as calls or milliseconds.
        y: another, such as the Frechet distance.
        sign: -1 for a `y` to be large (`Ranking.sign`).

    Returns:
        Booleans on the index of `df`. Equal points are on the frontier together.
    """
    xs, ys = df[x].to_numpy(float), sign * df[y].to_numpy(float)
    front = np.zeros(len(df), bool)
    best = np.inf  # of all rows with a smaller x
    for value in np.unique(xs[~np.isnan(xs) & ~np.isnan(ys)]):
        here = (xs == value) & ~np.isnan(ys)
        low = ys[here].min()
        if low < best:
            front |= here & (ys == low)
            best = low
    return pd.Series(front, index=df.index)


@dataclass(frozen=True)
class Winner:
    """The best row of a selection by `cost`, and the index labels of the rows that tie with it."""

    row: pd.Series
    ties: list[int]
    paired: int
    compared: int


def winner(rows: pd.DataFrame) -> Winner | None:
    """The smallest `cost` (at equal values fewer calls, then the name), with its ties; None if no row has one."""
    rows = rows[rows["fd"].notna()].sort_values(["cost", "counted.calls", "label"], kind="stable")
    if rows.empty:
        return None
    best, rest = rows.iloc[0], rows.iloc[1:]
    found = {index: difference(best, row) for index, row in rest.iterrows()}
    ties = [int(str(index)) for index, d in found.items() if d.tie]
    return Winner(best, ties, sum(d.paired for d in found.values()), len(found))


def coinciding(rows: pd.DataFrame) -> Sequence[str]:
    """Solvers whose one-call rows have equal `fd` (to a thousandth), the largest such set; empty if fewer than two."""
    to_zero = ~rows["last_step"].eq("stop") if "last_step" in rows else True
    once = rows[(rows["counted.calls"] == 1) & rows["fd"].notna() & rows["student.name"].isna() & to_zero]
    sets = [sorted(set(once["label"][np.isclose(once["fd"], fd, rtol=ROUNDING)])) for fd in once["fd"]]
    largest = max(sets, key=len, default=[])
    return largest if len(largest) > 1 else []
