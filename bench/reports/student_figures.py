"""Figures of trained samplers: the path that one call decodes, and the learning curve."""

from pathlib import Path
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.lines import Line2D

from bench.presentation.document import Figure
from bench.presentation.looks import WIDTH, drawing
from bench.presentation.series import MARKERS
from bench.presentation.text import one_line
from bench.reports.sample_figure import kept_picture
from bench.reports.sections import LABEL, Section
from bench.reports.student_tables import trained


def _named(row: pd.Series) -> str:
    return f"{row['label']} ({one_line(row['student.name'], LABEL)})"


def path_figure(section: Section, out: Path, suffix: str) -> Figure:
    """The path that one network call decodes, beside the teacher's true path from the same noise."""
    title, file = "The path that one call decodes", f"paths{suffix}.png"
    rows = [r for _, r in trained(section).iterrows() if isinstance(r.get("path.sigmas"), list) and len(r["path.sigmas"])]
    found = [(r, g) for r in rows if (g := kept_picture(r, f"{r['cell']}.path")) is not None]
    found = [(r, g) for r, g in found if 0 < 2 * r["path.noises"] <= g.shape[0]]
    if not found:
        return Figure(title, None, "no sampler decodes more than the image in one call, or the run folder holds no path.")
    row, grid = found[0]  # one student is enough to see it; the others' pictures lie in samples/
    sigmas, noises = row["path.sigmas"], int(row["path.noises"])
    size = grid.shape[0] // (2 * noises)
    columns = len(sigmas)
    across = noises // 2 if noises > 1 else 1  # noises side by side
    gap = 0.12
    cell = WIDTH * 0.9 / (across * (columns + gap))
    down = -(-noises // across)
    with drawing(out / file, height=cell * down * 2.15 + 0.45, layout=None) as fig:
        axes = fig.subplots(down, across, squeeze=False)
        fig.subplots_adjust(left=0.09, right=0.995, bottom=0.01, top=1 - 0.35 / fig.get_figheight(), wspace=0.04, hspace=0.06)
        for k in range(noises):
            ax = axes[k // across, k % across]
            ax.imshow(grid[2 * k * size : 2 * (k + 1) * size], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            ax.axhline(size - 0.5, color="white", lw=1)
            ax.set(xticks=[], yticks=[])
            if k % across == 0:
                ax.set_yticks([size / 2, 1.5 * size], ["decoded", "true"])
                ax.tick_params(axis="y", length=0)
            if k < across:
                names = [f"σ = {s:.2g}" if s else "image" for s in sigmas]
                ax.set_xticks([(i + 0.5) * size for i in range(columns)], names, fontsize=7)
                ax.xaxis.tick_top()
                ax.tick_params(axis="x", length=0, pad=1)
            sns.despine(ax=ax, left=True, bottom=True)
    text = (
        f"{_named(row)}, {noises} noises of seed {row['seed']:.0f}: above, what its one call decodes "
        "at each noise level; below, the teacher's prediction of the image where the converged ODE path from the same noise "
        "passes that level. At the end both are the image."
    )
    return Figure(title, file, text, pd.DataFrame({"label": row["label"], "cell": row["cell"], "sigma": sigmas}))


def learning_figure(section: Section, out: Path, suffix: str) -> Figure:
    """Error of the image against the trajectories trained on, on held-out noises and on noises of the training set."""
    title, file = "Learning curves", f"learning{suffix}.png"
    curves = [c for _, r in trained(section).iterrows() if (c := _curve(r)) is not None]
    if not curves:
        return Figure(title, None, "the students' cards hold no learning curve.")
    memorised = any("seen_error" in curve for curve in curves)
    with drawing(out / file, height=3.6) as fig:
        ax = fig.subplots()
        handles = []
        labels: list[str] = []
        for curve in curves:
            label = curve["label"].iloc[0]
            colour, place = section.looks[label].color, labels.count(label)
            labels.append(label)
            look: dict[str, Any] = {"color": colour}  # a sampler may have many students: a marker tells them apart
            if place:
                look |= {"marker": MARKERS[(place - 1) % len(MARKERS)], "ms": 4, "markevery": 0.1}
            ax.plot(curve["images"], curve["error@0"], lw=1.3, **look)
            if "seen_error" in curve:
                ax.plot(curve["images"], curve["seen_error"], color=colour, lw=0.9, ls=(0, (4, 2)))
            handles.append(Line2D([], [], label=curve["student"].iloc[0], **look))
        if memorised:
            handles += [
                Line2D([], [], color="0.3", lw=1.3, label="noises held out"),
                Line2D([], [], color="0.3", lw=0.9, ls=(0, (4, 2)), label="noises of the training set"),
            ]
        ax.set(
            xlabel="images or trajectories trained on (with repeats)", ylabel="relative RMSE of the image", title=section.key()
        )
        ax.grid(True)
        fig.legend(handles=handles, frameon=False, loc="outside lower center", ncols=2)  # no curve runs beneath it
    text = (
        "Distance of the student's image from the teacher's for the same noise, relative to its RMS, while training, by the "
        "averaged weights; in one call, or in the number of steps that the student is for. What learns from images alone does "
        "not aim at the teacher's image, and need not come near it to be good."
    )
    if memorised:
        text += (
            " The two sets of noises are different images, so their levels differ a little from the start; memorising shows as "
            "a gap that grows."
        )
    return Figure(title, file, text, pd.concat(curves))


def _curve(row: pd.Series) -> pd.DataFrame | None:
    """Columns label, student, images, error@0, maybe seen_error of a card's learning curve (see `samplers.protocol.Student`).

    None if the card has none that can be drawn.
    """
    points = row.get("training.curve")
    if not isinstance(points, list):
        return None
    numbers = [{k: v for k, v in p.items() if isinstance(v, int | float)} for p in points if isinstance(p, dict)]
    curve = pd.DataFrame(numbers, columns=["step", "error@0", "seen_error"], dtype=float).dropna(axis=1, how="all")
    images = row["training.images"]
    if not {"step", "error@0"} <= {*curve} or len(curve) < 2 or pd.isna(images):
        return None
    return curve.assign(label=row["label"], student=_named(row), images=curve["step"] * images / curve["step"].max())
