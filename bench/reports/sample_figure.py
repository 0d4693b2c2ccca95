"""Figure of a report: the images themselves, from the same noises."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from PIL import Image

from bench.presentation.document import Figure
from bench.presentation.looks import WIDTH, drawing
from bench.presentation.text import plural
from bench.reports.sections import Section

GRID_CALLS = 10  # the common number of calls of the grid of images


def _nearest(rows: pd.DataFrame, calls: int) -> pd.DataFrame:
    """For each label the row whose number of calls is nearest to `calls`, the smaller of two equally near."""
    order = np.abs(rows["counted.calls"] - calls)
    return rows.assign(_far=order).sort_values(["label", "_far", "counted.calls"], kind="stable").drop_duplicates("label")


def kept_picture(row: pd.Series, name: str) -> np.ndarray | None:
    """A picture in a run's folder of samples, uint8 [H, W] or [H, W, 3]; None if it is not there, or damaged."""
    try:
        with Image.open(Path(row["run"]) / "samples" / f"{name}.png") as image:
            return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def folded(label: str, width: int = 22) -> str:
    """A label in lines of at most `width` characters, broken behind colons alone."""
    lines = [""]
    for part in re.split("(?<=:)", label):
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def sample_figure(section: Section, out: Path, suffix: str) -> Figure:
    """Images of every sampler from the same noises, one column a noise; the converged solution as last row."""
    title, file = f"Images at about {GRID_CALLS} calls", f"samples{suffix}.png"
    seed = section.rows["seed"].min()  # other seeds have other noises
    rows = _nearest(section.rows[section.rows["seed"] == seed], GRID_CALLS)
    found = [(row, kept_picture(row, row["cell"])) for _, row in rows.iterrows()]
    strips = [
        (f"{folded(row['label'])}\n{plural(row['counted.calls'], 'call')}, {plural(row['steps'], 'step')}", strip)
        for row, strip in found
        if strip is not None
    ]
    if not strips:
        return Figure(title, None, "the run folders hold no images of these cells.")
    reference = next((s for row, _ in found if (s := kept_picture(row, "reference")) is not None), None)
    if reference is not None:
        strips.append(("converged\nODE solution", reference))
    height = strips[0][1].shape[0]
    columns = max(1, min(strip.shape[1] // strip.shape[0] for _, strip in strips))  # images are square
    width = columns * height
    strips = [(label, strip[:, :width]) for label, strip in strips]  # a run of few converged images has a shorter row
    left = 0.18  # share of the width for the labels
    row_height = WIDTH * (1 - left) / columns * 1.04
    with drawing(out / file, height=row_height * len(strips) + 0.3, layout=None) as fig:
        axes = fig.subplots(len(strips), 1, squeeze=False)[:, 0]
        fig.subplots_adjust(left=left, right=0.995, bottom=0.005, top=1 - 0.28 / fig.get_figheight(), hspace=0.04)
        for ax, (label, strip) in zip(axes, strips, strict=True):
            for k in range(1, columns):
                ax.axvline(k * width / columns - 0.5, color="white", lw=2)
            ax.imshow(strip, cmap="gray", vmin=0, vmax=255, aspect="auto", interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            ax.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=7.5, labelpad=5)
            sns.despine(ax=ax, left=True, bottom=True)
        edges = (np.arange(columns) + 0.5) * width / columns - 0.5
        axes[0].set_xticks(edges, [f"noise {i}" for i in range(columns)], fontsize=7.5)
        axes[0].xaxis.tick_top()
        axes[0].tick_params(length=0, pad=2)
        if reference is not None:
            axes[-1].spines["top"].set(visible=True, color="#D55E00", linewidth=1.5)
    text = (
        f"Each column starts from the same noise (seed {seed:.0f}); each sampler is shown at its number of calls nearest to "
        f"{GRID_CALLS}, which its label gives."
    )
    text += " The last row is the converged ODE solution." if reference is not None else " No converged solution was kept."
    missing = [row["label"] for row, strip in found if strip is None]
    if missing:
        text += f" No images were kept of: {', '.join(missing)}."
    return Figure(title, file, text, rows[["label", "steps", "counted.calls", "cell"]])
