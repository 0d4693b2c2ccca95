"""How figures look: their theme, their legends and their axes."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import matplotlib
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from bench.presentation.series import Style

WIDTH, DPI = 7.2, 150  # inches, the text width of a page; dots per inch
THEME = {
    **sns.axes_style("ticks"),
    **sns.plotting_context("paper"),
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same picture on every machine
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 9.5,
    "figure.titlesize": 9.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "text.parse_math": False,  # a dollar in a name is a dollar
}


@contextmanager
def drawing(path: Path, height: float, layout: Any = "constrained") -> Iterator[Figure]:
    """A figure of the page's width, `height` inches, in the theme of all; saved to `path` (PNG) when it is drawn.

    Within `also_for_papers` as SVG and PDF, too, in the folder named there.
    """
    with matplotlib.rc_context(THEME):
        figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout=layout)
        yield figure
        save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Save a figure as `drawing` says."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")  # else matplotlib draws all of it twice
    figure.savefig(path, metadata={"Software": None})
    folder = _papers.get()
    if folder is not None:
        figure.savefig(folder / f"{path.stem}.svg", metadata={"Date": None, "Creator": None})
        figure.savefig(folder / f"{path.stem}.pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})


_papers: ContextVar[Path | None] = ContextVar("papers", default=None)


@contextmanager
def also_for_papers(folder: Path) -> Iterator[None]:
    """Figures that are drawn within are saved to `folder` as SVG and PDF, too, their text as text."""
    token = _papers.set(folder)
    try:
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "bench", "pdf.fonttype": 42}):
            yield
    finally:
        _papers.reset(token)


def handle(style: Style, label: str) -> Line2D:
    """The entry of a series in a legend."""
    look: dict[str, Any] = {"color": style.color, "marker": style.marker, "ls": style.line, "fillstyle": style.fill}
    return Line2D([], [], lw=1.2, ms=5.5, mew=0.8, markerfacecoloralt="white", label=label, **look)


def legend_below(figure: Figure, handles: Sequence[Line2D]) -> None:
    """A legend under the axes in as many columns as its longest label leaves room for; the figure grows by its lines."""
    longest = max(len(str(h.get_label())) for h in handles)
    columns = max(1, min(5, 100 // (longest + 7)))
    figure.set_figheight(figure.get_figheight() + 0.18 * math.ceil(len(handles) / columns))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, handlelength=3)


def log_axes(ax: Axes, x: tuple[float, float], y: tuple[float, float], at: Sequence[float] | None = None) -> None:
    """Log-log axes over the given ranges of positive values, with plain numbers (0.1, 1, 10) and few of them.

    Args:
        ax: the axes.
        x: the range of x.
        y: the range of y.
        at: the x of the points, where only measured values are to be named: ticks stand at these, at the most frequent where
            they are too close to name each.
    """
    ax.set(xscale="log", yscale="log")
    for axis, limits, (low, high) in ((ax.xaxis, ax.set_xlim, x), (ax.yaxis, ax.set_ylim, y)):
        decades = math.log10(high) - math.log10(low)
        pad = 10 ** (0.04 * max(decades, 0.3))
        limits(max(low / pad, 1e-300), min(high * pad, 1e300))
        axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7) if decades < 0.8 else (1, 2, 5) if decades < 3 else (1,)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(LogLocator(subs=range(1, 10)))
        axis.set_minor_formatter(NullFormatter())
    if at is not None:
        ax.xaxis.set_major_locator(FixedLocator(_apart(at, 0.05 * math.log10(ax.get_xlim()[1] / ax.get_xlim()[0]))))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}" if value < 1000 else f"{value:.0f}"))
        ax.xaxis.set_minor_locator(NullLocator())
    ax.grid(True)


def _apart(values: Sequence[float], gap: float) -> list[float]:
    """Of positive values those that lie at least `gap` decades apart, the most frequent first, then the smallest."""
    kept: list[float] = []
    for value, _ in sorted(Counter(values).items(), key=lambda pair: (-pair[1], pair[0])):
        if all(abs(math.log10(value / other)) >= gap for other in kept):
            kept.append(value)
    return sorted(kept)
