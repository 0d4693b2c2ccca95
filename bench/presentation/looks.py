"""How figures look, and a sampler in each of them: colour, marker and line are a function of its name alone."""

import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

WIDTH, DPI = 7.2, 150  # inches, the text width of a page; dots per inch
# Okabe & Ito's palette, safe for colour-blind readers, without its yellow, which is too faint for a line on white.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*", "d", "H", "8")
LINES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)))
FILLS = ("none", "left", "right", "top", "bottom")
# Append to this list, never insert: a name's place is its look. Sorted within each batch of additions.
KNOWN = (
    "ddim", "ddpm", "deis", "dpm_solver_1", "dpm_solver_2", "dpm_solver_3", "dpmpp_2m", "dpmpp_3m", "euler", "heun", "ipndm",
    "unipc", "dsno", "consistency", "progressive", "knowledge_distillation", "consistency_training",
    "dpm_solver",
)  # fmt: skip
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
    """A figure of the page's width, `height` inches, in the theme of all; saved to `path` (PNG) when it is drawn."""
    with matplotlib.rc_context(THEME):
        figure = Figure(figsize=(WIDTH, height), layout=layout)
        yield figure
        figure.savefig(path, dpi=DPI, metadata={"Software": None})


@dataclass(frozen=True)
class Style:
    """Colour, marker, its filling ("full" for a sampler by its plain name) and line of a series."""

    color: str
    marker: str
    line: Any
    fill: Any = "full"

    def handle(self, label: str) -> Line2D:
        """Its entry in a legend."""
        look = {"color": self.color, "marker": self.marker, "ls": self.line, "fillstyle": self.fill}
        return Line2D([], [], lw=1.2, ms=5.5, mew=0.8, markerfacecoloralt="white", label=label, **look)


def style_of(sampler: str) -> Style:
    """The look of a sampler, the same in every figure, report and installation.

    A known sampler takes its place in KNOWN; any other name takes one by its checksum, so that it, too, never changes. With
    options ("ddim:eta=0.5") it keeps the colour and takes a marker of its own, hollow; what tells series of one sampler apart
    ("ddim [bf16]") keeps colour and marker and changes the filling and the line.
    """
    spec, _, series = sampler.partition(" [")
    base = spec.split(":")[0]
    place = KNOWN.index(base) if base in KNOWN else zlib.crc32(base.encode())
    colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
    line, fill = LINES[place // len(COLOURS) % len(LINES)], "full"
    if spec != base:
        place = zlib.crc32(spec.encode())
        marker, line, fill = MARKERS[place % len(MARKERS)], LINES[place // len(MARKERS) % len(LINES)], "none"
    if series:
        place = zlib.crc32(series.encode())
        fill, line = FILLS[place % len(FILLS)], LINES[place // len(FILLS) % len(LINES)]
    return Style(colour, marker, line, fill)


def legend_below(figure: Figure, handles: Sequence[Line2D]) -> None:
    """A legend under the axes in as many columns as its longest label leaves room for; the figure grows by its lines."""
    longest = max(len(str(h.get_label())) for h in handles)
    columns = max(1, min(5, 100 // (longest + 7)))
    figure.set_figheight(figure.get_figheight() + 0.18 * math.ceil(len(handles) / columns))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, handlelength=3)


def log_axes(ax: Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    """Log-log axes over the given ranges of positive values, with plain numbers (0.1, 1, 10) and few of them."""
    ax.set(xscale="log", yscale="log")
    for axis, limits, (low, high) in ((ax.xaxis, ax.set_xlim, x), (ax.yaxis, ax.set_ylim, y)):
        decades = math.log10(high) - math.log10(low)
        pad = 10 ** (0.04 * max(decades, 0.3))
        limits(max(low / pad, 1e-300), min(high * pad, 1e300))
        axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7) if decades < 0.8 else (1, 2, 5) if decades < 3 else (1,)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(LogLocator(subs=range(1, 10)))
        axis.set_minor_formatter(NullFormatter())
    ax.grid(True)
