"""Which rows are better: frontier, best of a budget, statistical ties."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.records.differences import ROUNDING, Difference, difference


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
    has = ~np.isnan(xs) & ~np.isnan(ys)
    front = has.copy()
    for i in np.flatnonzero(has):
        better, equal = has & (ys < ys[i]), has & (ys == ys[i])
        front[i] = not ((better & (low <= high[i])).any() or (equal & (high < low[i])).any())
    return pd.Series(front, index=df.index)


@dataclass(frozen=True)
class Winner:
    """The best row of a selection by `cost`, and how the others were held against it.

    Attributes:
        row: the best row.
        differences: of the others from it by their index labels, in the order of their `cost`.
    """

    row: pd.Series
    differences: dict[int, Difference]

    @property
    def ties(self) -> list[int]:
        """The rows whose difference may be chance, or could not be tested."""
        return [index for index, d in self.differences.items() if d.tie]

    @property
    def untested(self) -> list[int]:
        """The rows that could not be tested."""
        return [index for index, d in self.differences.items() if not d.known]

    @property
    def tested(self) -> bool:
        """Whether any other row was tested against it: only then it is the best of something."""
        return any(d.known for d in self.differences.values())

    @property
    def nearer(self) -> list[int]:
        """The rows that are not tied although one farther off is: ties are not transitive."""
        order = [(index, d.tie) for index, d in self.differences.items() if d.known]
        last = max((place for place, (_, tie) in enumerate(order) if tie), default=0)
        return [index for index, tie in order[:last] if not tie]


def winner(rows: pd.DataFrame) -> Winner | None:
    """The smallest `cost` (at equal values fewer calls, then the name), with the others; None if no row has one."""
    rows = rows[rows["fd"].notna()].sort_values(["cost", "counted.calls", "label"], kind="stable")
    if rows.empty:
        return None
    best = rows.iloc[0]
    return Winner(best, {int(str(index)): difference(best, row) for index, row in rows.iloc[1:].iterrows()})


def coinciding(rows: pd.DataFrame) -> Sequence[str]:
    """Solvers whose one-call rows have equal `fd` (to a thousandth), the largest such set; empty if fewer than two."""
    to_zero = ~rows["last_step"].eq("stop") if "last_step" in rows else True
    once = rows[(rows["counted.calls"] == 1) & rows["fd"].notna() & rows["student.name"].isna() & to_zero]
    sets = [sorted(set(once["label"][np.isclose(once["fd"], fd, rtol=ROUNDING)])) for fd in once["fd"]]
    largest = max(sets, key=len, default=[])
    return largest if len(largest) > 1 else []
