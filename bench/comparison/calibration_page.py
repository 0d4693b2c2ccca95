"""Table and figure of a calibration: what the verdicts were where the truth is known."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from scipy.stats import beta

from bench.comparison.trials import read_trials
from bench.comparison.verdicts import middle
from bench.presentation.looks import DPI, THEME, WIDTH
from bench.presentation.text import markdown
from samplers.errors import UserError
from samplers.files import write_whole

VERDICTS = ("slower", "faster", "same", "ambiguous")
COLOURS = {"slower": "#D55E00", "faster": "#009E73", "same": "#0072B2", "ambiguous": "#888888"}
MARKERS = {"slower": ">", "faster": "<", "same": "o", "ambiguous": "x"}


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a probability of which k of n trials, n >= 1, were hits."""
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, k, n - k + 1)) if k else 0.0
    return low, float(beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0


def wrong(delay: float, verdict: str, effect: float) -> bool:
    """Whether a verdict contradicts the truth: B is slower by `delay`, and what is to be found is `effect`.

    No delay must not be called slower or faster, one below the effect not faster, and one of the effect must be found.
    """
    if delay == 0:
        return verdict in ("slower", "faster")
    return verdict == "faster" if delay < effect else verdict != "slower"


def table(trials: Sequence[dict[str, Any]], effect: float) -> str:
    """A row for each delay: how often each verdict fell, and the share of wrong ones with its exact 95 % interval."""
    lines = []
    for name, first in trials[0]["cells"].items():
        found = [t["cells"][name] for t in trials]
        counts, n = Counter(c["verdict"] for c in found), len(found)
        k = sum(wrong(first["delay"], c["verdict"], effect) for c in found)
        low, high = clopper_pearson(k, n)
        truth = f"B slower by {100 * first['delay']:g} %" if first["delay"] else "the same code (A/A)"
        share = f"{k} of {n}, {100 * k / n:.0f} % [{100 * low:.1f}, {100 * high:.1f}]"
        lines.append([truth, *(str(counts[v]) for v in VERDICTS), share])
    return markdown(["truth", *VERDICTS, "wrong"], lines, range(1, 6))


def draw(trials: Sequence[dict[str, Any]], effect: float, path: Path) -> None:
    """Every trial's measured slowdown with its interval, a panel for each true one."""
    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    cells = trials[0]["cells"]
    with plt.rc_context(THEME):
        figure, axes = plt.subplots(1, len(cells), figsize=(WIDTH, 3.2), sharex=True, sharey=True, layout="constrained")
        for ax, (name, first) in zip(np.atleast_1d(axes), cells.items(), strict=True):
            found = [(t["cells"][name]["verdict"], middle(t["cells"][name]["processes"])) for t in trials]
            told = sorted(((v, m) for v, m in found if m is not None), key=lambda p: p[1]["ratio"])
            for verdict in VERDICTS:
                at = [(i, m) for i, (v, m) in enumerate(told) if v == verdict]
                if not at:
                    continue
                y, m = [i for i, _ in at], [m for _, m in at]
                x, low, high = (100 * (np.array([p[key] for p in m]) - 1) for key in ("ratio", "ratio_low", "ratio_high"))
                style = {"color": COLOURS[verdict], "fmt": MARKERS[verdict], "ms": 2.5, "elinewidth": 0.6}
                ax.errorbar(x, y, xerr=[x - low, high - x], label=verdict, **style)
            line = 100 * (np.sqrt(1 + effect) - 1)
            for v in (-line, line):
                ax.axvline(v, color="black", lw=0.7, ls=(0, (4, 2)), zorder=0)
            ax.axvline(100 * first["delay"], color="black", lw=0.9, zorder=0)
            truth = f"B slower by {100 * first['delay']:g} %" if first["delay"] else "the same code (A/A)"
            counts = Counter(v for v, _ in found)
            ax.set_title(f"{truth}\n" + ", ".join(f"{v}: {counts[v]}" for v in VERDICTS if counts[v]))
            ax.set_xlabel("measured: B slower by, %")
            ax.spines[["top", "right"]].set_visible(False)
        np.atleast_1d(axes)[0].set_ylabel("trial, by measured ratio")
        shown = {label: h for ax in np.atleast_1d(axes) for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
        figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=len(VERDICTS), frameon=False)
        figure.savefig(path, dpi=DPI)
        plt.close(figure)


def write_page(folder: Path) -> Path:
    """Write `calibration.md` and `calibration.png` from the trials of a folder; returns the path of the page.

    Raises:
        UserError: no trials there.
    """
    trials = read_trials(folder)
    if not trials:
        raise UserError(f"no trials in {folder}; make some with 'python -m bench.comparison.calibration --out {folder}'")
    setting = json.loads((folder / "setting.json").read_text())
    effect = setting["terms"]["effect"]
    draw(trials, effect, folder / "calibration.png")
    seconds = [t["seconds"] for t in trials]
    shares = [t["neighbour"] for t in trials if t["neighbour"] is not None]
    spent = [p for t in trials for c in t["cells"].values() for p in c["processes"]]
    passes, pairs = [p["a_ms"] for p in spent], [p["pairs"] for p in spent]
    text = [
        "# How often the verdicts err",
        f"{len(trials)} comparisons of {setting['environment']['cpu']} ({setting['environment']['cores']} cores), one thread, "
        f"revision {setting['commit'][:7]}{setting['commit'][40:]}, effect to be found {100 * effect:g} %. A pass takes "
        f"{np.median(passes):.1f} ms (median). Another process loads one core "
        + (f"for {100 * np.mean(shares):.0f} % of the time, " if shares else "half of the time, ")
        + f"in bursts of {setting['neighbour']['burst_s'][0]:g} to {setting['neighbour']['burst_s'][1]:g} s. One comparison "
        f"decides all rows: {np.median(seconds):.0f} s (median), {max(seconds):.0f} s at most, budget "
        f"{setting['terms']['budget']:g} s; {np.median(pairs):.0f} pairs (median) of each row "
        "in each of two or three processes.",
        table(trials, effect),
        "*Wrong*: any `slower` or `faster` of the same code; `faster` of a delay below the effect; all but `slower` of a delay "
        "of the effect. In brackets the exact 95 % interval of the share. A delay of 2 % is smaller than the effect, so `same` "
        "is right of it, and `slower` no lie.",
        "![Measured slowdowns](calibration.png)",
        "Each line is one comparison: the ratio and its 99 % interval, of the middle process or between the two middle "
        "ones. Solid: the truth; dashed: half of the effect, where `slower` begins.",
        f"Again: `python -m bench.comparison.calibration --trials {len(trials)} --out FOLDER`; with `--report` the page alone.",
    ]
    write_whole(folder / "calibration.md", ("\n\n".join(text) + "\n").encode())
    return folder / "calibration.md"
