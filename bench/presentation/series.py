"""How a sampler looks in figures: one colour, marker and line in all of a report."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# Okabe & Ito's palette, safe for colour-blind readers, without its yellow, which is too faint for a line on white; then colours
# that lie as far as possible from these and from one another in CIELAB, none too faint, dark or glaring.
COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000", "#690F87", "#5A4B00", "#96C33C", "#87001E",
    "#A587FF", "#FF5A69", "#004B3C", "#5A3C5A", "#C3875A", "#C30078", "#1E6900", "#004BB4", "#96A569", "#78695A", "#FF87F0",
    "#968700", "#008796",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*", "d", "H", "8")
LINES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)))
FILLS = ("none", "left", "right", "top", "bottom")
# Append to this list, never insert: a name's place is its look in every report. Sorted within each batch of additions.
KNOWN = (
    "ddim", "ddpm", "deis", "dpm_solver_1", "dpm_solver_2", "dpm_solver_3", "dpmpp_2m", "dpmpp_3m", "euler", "heun", "ipndm",
    "unipc", "dsno", "consistency", "progressive", "knowledge_distillation", "consistency_training",
    "dpm_solver",
)  # fmt: skip


@dataclass(frozen=True)
class Style:
    """Colour, marker, its filling ("full" for a sampler by its plain name) and line of a series."""

    color: str
    marker: str
    line: Any
    fill: Any = "full"


class Looks:
    """The looks of a report's series, the same in all its figures.

    A sampler by its plain name that is in KNOWN has its place there, in every report. All others, those with options
    ("ddim:eta=0.5", hollow) among them, take the places that are left, by name, so that no two samplers of a report have the
    same colour while there are colours, and never the same colour and marker. What tells series of one sampler apart
    ("ddim [bf16]") keeps both and changes the filling and the line.
    """

    def __init__(self, series: Iterable[str] = (), first: Iterable[str] = ()) -> None:
        """Looks of series; those that are `first` choose before all others."""
        found: dict[str, list[str]] = {}
        early = sorted(set(first))
        for label in [*early, *sorted(set(series) - {*early})]:
            sampler, bracket, which = label.partition(" [")
            found.setdefault(sampler, []).extend([which] if bracket else [])
        places = {name: KNOWN.index(name) for name in found if name in KNOWN}
        taken = {place % len(COLOURS) for place in places.values()}
        order = [*range(len(KNOWN), len(COLOURS)), *range(len(KNOWN))]
        free = itertools.chain((p for p in order if p not in taken), itertools.count(max(len(KNOWN), len(COLOURS))))
        places |= {name: next(free) for name in found if name not in KNOWN}
        self._styles = {}
        for name, series_of in found.items():
            place = places[name]
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
            line = LINES[place // len(COLOURS) % len(LINES)]
            self._styles[name] = Style(colour, marker, line, "none" if ":" in name else "full")
            for k, words in enumerate(series_of):
                self._styles[f"{name} [{words}"] = Style(colour, marker, LINES[(k + 1) % len(LINES)], FILLS[k % len(FILLS)])

    def __getitem__(self, label: str) -> Style:
        return self._styles[label]
