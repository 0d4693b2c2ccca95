"""What a page that can be played with is made of, besides the blocks of a document: charts, sliders, a table of all records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from bench.presentation.document import Inline, Table
from bench.presentation.series import Style


@dataclass(frozen=True, eq=False)
class Line:
    """A line that belongs to no sampler: a frontier (as steps), a guide, or a level to compare with."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    look: Literal["frontier", "other frontier", "guide", "level"] = "guide"


@dataclass(frozen=True, eq=False)
class Panel:
    """One pair of axes.

    Attributes:
        x_title: what the x axis shows, with its unit.
        y_title: the same of the y axis.
        points: columns label, x, x_low, x_high, y, y_low, y_high, and `front` where some are to stand out; indexed by row.
        lines: others.
    """

    x_title: str
    y_title: str
    points: pd.DataFrame
    lines: Sequence[Line] = ()


@dataclass(frozen=True, eq=False)
class Chart:
    """Panels of the same rows on logarithmic axes.

    Attributes:
        panels: side by side where there is room.
        about: lines of text on each row, by its index in the points.
        families: the family of each label.
        styles: the look of each label.
        caption: where it differs from its figure's, which tells what a picture leaves out.
    """

    panels: Sequence[Panel]
    about: Mapping[int, Sequence[str]] = field(default_factory=dict)
    families: Mapping[str, str] = field(default_factory=dict)
    styles: Mapping[str, Style] = field(default_factory=dict)
    caption: Inline = ""


@dataclass(frozen=True, eq=False)
class Choice:
    """What to do at one position of a slider: a sentence, remarks on it, and the rows meant, by their index in the points."""

    value: float
    told: str
    text: Inline
    remarks: Sequence[Inline]
    rows: Sequence[int]


@dataclass(frozen=True, eq=False)
class Slider:
    """A budget of one kind, its positions in increasing order, and the panel whose x axis it moves along."""

    name: str
    choices: Sequence[Choice]
    start: int
    panel: Panel


@dataclass(frozen=True, eq=False)
class Chooser:
    """Sliders of several kinds of budget, one of them in sight, with a chart of each; and what to know besides."""

    sliders: Sequence[Slider]
    chart: Chart  # of the sliders' panels
    notes: Sequence[Inline] = ()


@dataclass(frozen=True, eq=False)
class Records:
    """A table to sort and filter, and all that is behind it to take away."""

    shown: Table
    data: pd.DataFrame
    name: str  # of the files that are taken away, without their ending
    note: str = ""  # what it does not hold
