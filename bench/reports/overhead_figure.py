"""Figure of a report: what each sampler costs beyond its network calls."""

from pathlib import Path

import seaborn as sns

from bench.presentation.document import Figure
from bench.presentation.looks import drawing
from bench.presentation.text import plural
from bench.records.columns import axis_of
from bench.reports.sections import Section, disturbed


def overhead_figure(section: Section, out: Path, suffix: str) -> Figure:
    """What a sampler costs beyond its bare network calls."""
    title, file = "Overhead", f"overhead{suffix}.png"
    every = section.rows[section.rows["time.overhead_fraction"].notna()]
    if every.empty:
        return Figure(title, None, "no overhead was measured.")
    rows = every[~disturbed(every)]
    if rows.empty:
        return Figure(title, None, "the times of all rows are not valid.")
    data = rows.assign(overhead=100 * rows["time.overhead_fraction"])
    middle = data.groupby("timed")["overhead"].median().sort_values(kind="stable")
    with drawing(out / file, height=1.0 + 0.26 * len(middle)) as fig:
        ax = fig.subplots()
        sns.barplot(
            data, x="overhead", y="timed", order=list(middle.index), hue="timed", legend=False, estimator="median", ax=ax,
            palette={label: section.looks[label].color for label in middle.index}, saturation=1, alpha=0.5,
            errorbar=("pi", 100), err_kws={"linewidth": 1, "color": "0.1"},
        )  # fmt: skip
        ax.axvline(0, color="0.3", lw=0.8)
        ax.set(xlabel=axis_of("time.overhead_fraction"), ylabel="", title=section.key())
        ax.grid(True, axis="x")
    text = (
        "Wall time over the time of the same number of bare network calls, less one. Bar: median over a sampler's cells; "
        "whisker: smallest to largest. "
    )
    if len(middle) == 1:
        text += f"The median of {middle.index[0]}: {middle.iloc[0]:.1f} %."
    else:
        ends = (f"{middle.iloc[at]:.1f} % ({middle.index[at]})" for at in (0, -1))
        text += f"The medians go from {' to '.join(ends)}."
    if left := len(every) - len(rows):
        text += f" Left out: {plural(left, 'row')} whose times are not valid."
    return Figure(title, file, text, data[["timed", "steps", "overhead"]])
