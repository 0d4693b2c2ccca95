"""What figures of a section draw: points with their intervals, the frontier, and what has no room on the axes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.presentation.looks import handle, log_axes
from bench.presentation.series import Looks
from bench.presentation.text import measured, num, plural
from bench.reports.ranking import pareto

FADED = 0.4  # opacity of dominated points
FRONTIER: dict[str, Any] = {"color": "0.7", "lw": 2.5}
DASHED = (0, (6, 3))
FAILED, NEAR, ROOM, SHARE = 10, 2, 0.75, 5
"""A failed point is so many times worse than the median of those within this factor of its x. It is left out where the axis is
at most this part as long without it, and where such points are at most one of so many."""
Ends = tuple[str, str] | None  # columns of the interval around a value, if it has one


def points(rows: pd.DataFrame, label: str, x: str, y: str, y_ends: Ends, x_ends: Ends = None) -> pd.DataFrame:
    """Columns label, x, x_low, x_high, y, y_low, y_high of the rows that have both; clamped to be positive for a log axis.

    `x_most` is the most that x may be: infinite where it was measured and has no interval.
    """
    data = pd.DataFrame({"label": rows[label]})
    for own, column, ends in (("x", x, x_ends), ("y", y, y_ends)):
        low, high = ends or (column, column)
        value, below, above = (rows[c].replace([np.inf, -np.inf], np.nan) for c in (column, low, high))
        data[own] = value
        data[f"{own}_low"] = below.fillna(value).clip(upper=value)
        data[f"{own}_high"] = above.fillna(value).clip(lower=value)
        if own == "x":
            data["x_most"] = above.fillna(np.inf).clip(lower=value)
    data = data[data["x"].notna() & data["y"].notna()]
    for own in ("x", "y"):
        names = [own, f"{own}_low", f"{own}_high"]
        smallest = data[own][data[own] > 0].min()
        data[names] = data[names].clip(lower=smallest / 2 if pd.notna(smallest) else 1e-9)
    return data.sort_values(["label", "x"], kind="stable")


def frontier(data: pd.DataFrame, sign: int = 1) -> "pd.Series[bool]":
    """Which points are on the frontier; where x was measured, only what is smaller beyond both intervals is smaller."""
    return pareto(data, "x", "y", sign, ("x_low", "x_most"))


def failed(data: pd.DataFrame, sign: int = 1) -> "pd.Series[bool]":
    """Points far worse than their neighbours, which would take the room of all others on a logarithmic axis."""
    x, y = data["x"].to_numpy(), sign * np.log10(data["y"].to_numpy())
    usual = np.array([np.median(y[(x >= at / NEAR) & (x <= at * NEAR)]) for at in x])
    worst = [i for i in np.argsort(-y, kind="stable") if y[i] > usual[i] + np.log10(FAILED)]
    found = pd.Series(False, index=data.index)
    for number in range(1, min(len(worst), len(y) // SHARE) + 1):
        rest = np.delete(y, worst[:number])
        if np.ptp(rest) <= ROOM * np.ptp(y):
            found.iloc[worst[:number]] = True
            break
    return found


def interval_text(data: pd.DataFrame, axes: str = "xy") -> str:
    """What the bars of a figure are, along these axes; empty where it has none."""
    drawn = [own for own in axes if ((data[f"{own}_low"] < data[own]) | (data[f"{own}_high"] > data[own])).any()]
    return "Bars are 95 % intervals." if drawn else ""


def off_text(data: pd.DataFrame, most: int = 4) -> str:
    """Which points are off the axes, where they would be; empty if none."""
    shown = [f"{r['label']} ({num(r['x'])}), {measured(r['y'])}" for _, r in data.head(most).iterrows()]
    more = [f"{plural(len(data) - most, 'more point')}"] if len(data) > most else []
    return f"Off the axes, where the arrows point: {'; '.join([*shown, *more])}." if shown else ""


def draw(
    ax: Axes, data: pd.DataFrame, looks: Looks, off: pd.Series, *, steps: bool = True, sign: int = 1, counted: bool = True
) -> None:
    """One line a series, one marker a point with its interval; those that are `off` the axes as arrows at their edge.

    Args:
        ax: the axes, which become logarithmic.
        data: from `points`.
        looks: of the series.
        off: which points have no room, from `failed`.
        steps: whether to draw the frontier as steps, and all points behind it faded.
        sign: as `Ranking.sign`.
        counted: whether x was counted: its ticks are the values that were measured.
    """
    front = frontier(data, sign) if steps else pd.Series(True, index=data.index)
    for label, rows in data.groupby("label", sort=True):
        style = looks[str(label)]
        ax.plot(rows["x"], rows["y"], c=style.color, ls=style.line, lw=0.9, alpha=FADED if steps else 0.8, zorder=2)
        for kept, alpha, size in ((~front[rows.index], FADED, 3.5), (front[rows.index], 1.0, 5.0)):
            shown = rows[kept & ~off[rows.index]]
            if shown.empty:
                continue
            across, along = ([shown[v] - shown[f"{v}_low"], shown[f"{v}_high"] - shown[v]] for v in ("x", "y"))
            ax.errorbar(
                shown["x"], shown["y"], xerr=across, yerr=along, fmt=style.marker, ms=size, mew=0.7, elinewidth=0.8,
                color=style.color, fillstyle=style.fill, markerfacecoloralt="white", alpha=alpha, zorder=4 if alpha == 1 else 3,
            )  # fmt: skip
    if steps:
        order = data[front].sort_values("x")
        ax.plot(order["x"], order["y"], drawstyle="steps-post", zorder=1.5, **FRONTIER)
    arrows(ax, data[off], [looks[label].color for label in data["label"][off]], sign)
    within = data[~off]
    ends = (data["x_low"].min(), data["x_high"].max()), (within["y_low"].min(), within["y_high"].max())
    log_axes(ax, *ends, at=list(data["x"]) if counted else None)


def arrows(ax: Axes, data: pd.DataFrame, colours: Sequence[str], sign: int = 1) -> None:
    """An arrow at the edge of the axes beyond which each of the points lies."""
    edge, tail = (1.0, 0.93) if sign > 0 else (0.0, 0.07)
    across = ax.get_xaxis_transform()
    for x, colour in zip(data["x"], colours, strict=True):
        look = {"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0, "lw": 1.2}
        ax.annotate("", (x, edge), (x, tail), xycoords=across, textcoords=across, arrowprops=look, zorder=5)


def handles(labels: "pd.Series[str]", looks: Looks) -> list[Line2D]:
    """An entry of the legend for each series, by name."""
    return [handle(looks[label], label) for label in sorted(set(labels))]
