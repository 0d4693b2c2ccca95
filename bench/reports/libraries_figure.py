"""Figure of a report: the same methods of several libraries side by side, their trajectory errors and their times."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.presentation.document import Figure
from bench.presentation.looks import drawing, handle, legend_below
from bench.presentation.series import Style
from bench.presentation.text import measured, plural
from bench.records.columns import axis_of
from bench.reports.sections import Section, batch_sizes, disturbed, one_machine
from bench.reports.setting_tables import among
from bench.reports.student_claims import with_image_ms
from bench.reports.tables import latest
from samplers.spec import Spec

METHODS = {
    "Euler": ("euler", "k_diffusion:sample_euler", "diffusers:EulerDiscreteScheduler"),
    "Heun": ("heun", "k_diffusion:sample_heun", "diffusers:HeunDiscreteScheduler"),
    "DPM-Solver++(2M)": ("dpmpp_2m", "k_diffusion:sample_dpmpp_2m", "diffusers:DPMSolverMultistepScheduler"),
    "UniPC": ("unipc", "diffusers:UniPCMultistepScheduler"),
    "DEIS": ("deis", "diffusers:DEISMultistepScheduler"),
}
"""Names of the same method; their orders may differ, as their cards say."""
OURS = "ours"
LOOKS = {
    OURS: Style("#0072B2", "o", ""),
    "k_diffusion": Style("#E69F00", "s", ""),
    "diffusers": Style("#009E73", "^", ""),
}
ROWS = {
    "quality.trajectory_error": f"{axis_of('quality.trajectory_error.value')}, log scale",
    "image_ms": "milliseconds an image, in batches of {}",
}
"""What is drawn, a row of axes each: columns, and what the axis is called."""


def libraries_figure(section: Section, names: Sequence[str], out: Path, suffix: str) -> Figure | None:
    """Errors and times of methods that several libraries have, of the first of a report's tables in which each has one row.

    None where there is none.
    """
    title, file = "The same methods of several libraries", f"libraries{suffix}.png"
    found = (_methods(section.rows[among(section.rows["tables"], n)] if n else section.rows) for n in (names or ("",)))
    data = next((rows for rows in found if rows is not None), None)
    if data is None:
        return None
    budgets, methods = sorted(data["budget"].unique()), [m for m in METHODS if m in set(data["method"])]
    libraries = [x for x in LOOKS if x in set(data["library"])]
    shown = {column: label for column, label in ROWS.items() if data[f"{column}.{_middle(column)}"].notna().any()}
    with drawing(out / file, height=0.8 + len(shown) * (0.5 + 0.3 * len(methods))) as fig:
        axes = fig.subplots(len(shown), len(budgets), squeeze=False, sharey=True)
        for (column, label), row in zip(shown.items(), axes, strict=True):
            for budget, ax in zip(budgets, row, strict=True):
                _draw(ax, data[data["budget"] == budget], column, methods, libraries)
            row[len(row) // 2].set_xlabel(label.format(batch_sizes(data)))
        for budget, ax in zip(budgets, axes[0], strict=True):
            ax.set_title(f"at most {plural(budget, 'call')}")
        legend_below(fig, [handle(LOOKS[x], x) for x in libraries])
    text = (
        "The same formula on the same noises and grid gives the same images: above, the marks of a method lie on one another "
        "where its libraries take the same order and last step; below is what it costs. Bars are 95 % intervals."
    )
    return Figure(title, file, f"{text} {_told(data)}", data[["method", "library", "budget", *_columns()]])


def _columns() -> list[str]:
    return [f"{c}.{_middle(c)}" for c in ROWS]


def _middle(column: str) -> str:
    return "value" if column.startswith("quality") else "median"


def _methods(rows: pd.DataFrame) -> pd.DataFrame | None:
    """The rows of METHODS that two libraries have, with `method`, `library` and `budget`; None where one has two of a budget.

    Times that are not valid are left out.
    """
    method = {name: m for m, names in METHODS.items() for name in names}
    own = [Spec.parse(spec).name for spec in rows["sampler"]]
    rows = rows.assign(
        method=[method.get(n, "") for n in own], library=[n.partition(":")[0] if ":" in n else OURS for n in own]
    )
    rows = rows[(rows["method"] != "") & rows["quality.trajectory_error.value"].notna() & (rows["counted.calls"] > 0)]
    if rows.empty or not one_machine(rows):
        return None
    kept = pd.concat([band.assign(budget=budget) for budget, band in latest(rows).items()])
    if kept.duplicated(["method", "library", "budget"]).any():
        return None
    kept = kept[kept.groupby(["method", "budget"])["library"].transform("nunique") > 1]
    times = with_image_ms(kept)
    valid = {f"image_ms.{end}": times[f"image_ms.{end}"].mask(disturbed(times)) for end in ("median", "ci_low", "ci_high")}
    return times.assign(**valid) if len(times) else None


def _draw(ax: Axes, data: pd.DataFrame, column: str, methods: list[str], libraries: list[str]) -> None:
    middle = _middle(column)
    for k, library in enumerate(libraries):
        own = data[(data["library"] == library) & data[f"{column}.{middle}"].notna()]
        y = [methods.index(m) + 0.22 * (k - (len(libraries) - 1) / 2) for m in own["method"]]
        value = own[f"{column}.{middle}"]
        low, high = (own[f"{column}.{end}"].fillna(value) for end in ("ci_low", "ci_high"))
        bars = [(value - low).clip(lower=0), (high - value).clip(lower=0)]
        look = LOOKS[library]
        ax.errorbar(value, y, xerr=bars, fmt=look.marker, color=look.color, ms=4.5, elinewidth=1, capsize=0)
    ax.set_yticks(range(len(methods)), methods)
    ax.set_ylim(len(methods) - 0.5, -0.5)
    if column.startswith("quality"):
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=4))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
    else:
        ax.set_xlim(0, 1.05 * ax.get_xlim()[1])
    ax.grid(True, axis="x")


def _told(data: pd.DataFrame) -> str:
    """Ours to the fastest of the others, the span over all methods and budgets."""
    times = data.pivot_table(index=["method", "budget"], columns="library", values="image_ms.median")
    if OURS not in times or times.drop(columns=OURS).dropna(how="all").empty:
        return "No times of ours and of others are valid."
    ratios = (times[OURS] / times.drop(columns=OURS).min(axis=1)).dropna()
    return f"Ours take {measured(ratios.min())} to {measured(ratios.max())} times as long as the fastest of the others."
