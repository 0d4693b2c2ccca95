"""Table and figure of a calibration: what the verdicts were where the truth is known."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from bench.comparison.verdicts import middle
from bench.presentation import markdown
from bench.presentation.document import Cell, Document, Figure, Heading, Paragraph, Table, cell, code, emphasis, woven
from bench.presentation.looks import drawing
from samplers.errors import UserError
from samplers.files import read_json, read_rows, write_whole

VERDICTS = ("slower", "faster", "same", "ambiguous")
COLOURS = {"slower": "#D55E00", "faster": "#009E73", "same": "#0072B2", "ambiguous": "#888888"}
MARKERS = {"slower": ">", "faster": "<", "same": "o", "ambiguous": "x"}


def wrong(delay: float, verdict: str, effect: float) -> bool:
    """Whether a verdict contradicts the truth: B is slower by `delay`, and what is to be found is `effect`.

    No delay must not be called slower or faster, one below the effect not faster, and one of the effect must be found.
    """
    if delay == 0:
        return verdict in ("slower", "faster")
    return verdict == "faster" if delay < effect else verdict != "slower"


def truth(delay: float) -> str:
    """What a delay of side B is, in words."""
    return f"B slower by {100 * delay:g} %" if delay else "the same code (A/A)"


def error_table(trials: Sequence[dict[str, Any]], effect: float) -> Table:
    """A row for each delay: how often each verdict fell, and the share of wrong ones with its exact 95 % interval."""
    rows = []
    for name, first in trials[0]["cells"].items():
        found = [t["cells"][name] for t in trials]
        counts, n = Counter(c["verdict"] for c in found), len(found)
        k = sum(wrong(first["delay"], c["verdict"], effect) for c in found)
        low, high = binomtest(k, n).proportion_ci(0.95, method="exact")
        share = f"{k} of {n}, {100 * k / n:.0f} % [{100 * low:.1f}, {100 * high:.1f}]"
        rows.append([Cell(truth(first["delay"]), first["delay"]), *(cell(counts[v]) for v in VERDICTS), Cell(share, k / n)])
    return Table(["truth", *VERDICTS, "wrong"], rows, range(1, 6))


def slowdowns(trials: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """How much slower B was measured, in % with the 99 % interval, a row a comparison that has the time; by measured ratio."""
    rows = []
    for name, c in ((name, c) for t in trials for name, c in t["cells"].items()):
        if (m := middle(c["processes"])) is not None:
            percent = [100 * (m[key] - 1) for key in ("ratio", "ratio_low", "ratio_high")]
            rows.append([name, c["delay"], c["verdict"], *percent])
    columns = ["cell", "delay", "verdict", "slower", "slower_low", "slower_high"]
    return pd.DataFrame(rows, columns=columns).sort_values(["delay", "slower"], kind="stable")


def draw(trials: Sequence[dict[str, Any]], effect: float, path: Path) -> pd.DataFrame:
    """Every trial's measured slowdown with its interval, a panel for each true one; returns what was drawn."""
    cells, found = trials[0]["cells"], slowdowns(trials)
    line = 100 * (np.sqrt(1 + effect) - 1)
    with drawing(path, height=3.2) as fig:
        axes = fig.subplots(1, len(cells), squeeze=False, sharex=True, sharey=True)[0]
        for ax, (name, first) in zip(axes, cells.items(), strict=True):
            own = found[found["cell"] == name].reset_index(drop=True)
            for verdict in VERDICTS:
                m = own[own["verdict"] == verdict]
                ends = [m["slower"] - m["slower_low"], m["slower_high"] - m["slower"]]
                style = {"color": COLOURS[verdict], "fmt": MARKERS[verdict], "ms": 2.5, "elinewidth": 0.6}
                if len(m):
                    ax.errorbar(m["slower"], m.index, xerr=ends, label=verdict, **style)
            for v in (-line, line):
                ax.axvline(v, color="black", lw=0.7, ls=(0, (4, 2)), zorder=0)
            ax.axvline(100 * first["delay"], color="black", lw=0.9, zorder=0)
            counts = Counter(t["cells"][name]["verdict"] for t in trials)
            ax.set_title(f"{truth(first['delay'])}\n" + ", ".join(f"{v}: {counts[v]}" for v in VERDICTS if counts[v]))
            ax.set_xlabel("measured: B slower by, %")
            ax.spines[["top", "right"]].set_visible(False)
        axes[0].set_ylabel("trial, by measured ratio")
        shown = {label: h for ax in axes for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
        fig.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=len(VERDICTS), frameon=False)
    return found


def document(trials: Sequence[dict[str, Any]], setting: dict[str, Any], drawn: pd.DataFrame) -> Document:
    """The page of these trials, one or more, whose figure `calibration.png` lies beside it."""
    effect = setting["terms"]["effect"]
    seconds = [t["seconds"] for t in trials]
    shares = [t["neighbour"] for t in trials if t["neighbour"] is not None]
    spent = [p for t in trials for c in t["cells"].values() for p in c["processes"]]
    passes, pairs = [p["a_ms"] for p in spent], [p["pairs"] for p in spent]
    about = (
        f"{len(trials)} comparisons of {setting['environment']['cpu']} ({setting['environment']['cores']} cores), one thread, "
        f"revision {setting['commit'][:7]}{setting['commit'][40:]}, effect to be found {100 * effect:g} %. A pass takes "
        f"{np.median(passes):.1f} ms (median). Another process loads one core "
        + (f"for {100 * np.mean(shares):.0f} % of the time, " if shares else "half of the time, ")
        + f"in bursts of {setting['neighbour']['burst_s'][0]:g} to {setting['neighbour']['burst_s'][1]:g} s. One comparison "
        f"decides all rows: {np.median(seconds):.0f} s (median), {max(seconds):.0f} s at most, budget "
        f"{setting['terms']['budget']:g} s; {np.median(pairs):.0f} pairs (median) of each row "
        "in each of two or three processes."
    )
    slower, faster, same = code("slower"), code("faster"), code("same")
    rule = woven(
        "{}: any {} or {} of the same code; {} of a delay below the effect; all but {} of a delay of the effect. In brackets "
        "the exact 95 % interval of the share. A delay of 2 % is smaller than the effect, so {} is right of it, and {} no lie.",
        *(emphasis("Wrong"), slower, faster, faster, slower, same, slower),
    )
    reading = woven(
        "Each line is one comparison: the ratio and its 99 % interval, of the middle process or between the two middle ones. "
        "Solid: the truth; dashed: half of the effect, where {} begins.",
        slower,
    )
    command = f"python -m bench.comparison.calibration --trials {len(trials)} --out FOLDER"
    return [
        Heading(1, "How often the verdicts err"),
        Paragraph(about),
        error_table(trials, effect),
        Paragraph(rule),
        Figure("Measured slowdowns", "calibration.png", data=drawn),
        Paragraph(reading),
        Paragraph(woven("Again: {}; with {} the page alone.", code(command), code("--report"))),
    ]


def write_page(folder: Path) -> Path:
    """Write `calibration.md` and `calibration.png` from the trials of a folder; returns the path of the page.

    Raises:
        UserError: no trials there.
    """
    trials = read_rows(folder / "trials.jsonl")
    if not trials:
        raise UserError(f"no trials in {folder}; make some with 'python -m bench.comparison.calibration --out {folder}'")
    setting = read_json(folder / "setting.json", "setting", "make the trials again", ("terms",))
    drawn = draw(trials, setting["terms"]["effect"], folder / "calibration.png")
    write_whole(folder / "calibration.md", markdown.render(document(trials, setting, drawn)).encode())
    return folder / "calibration.md"
