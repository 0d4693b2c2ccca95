"""Published FIDs of fast samplers: which there are, and which may be compared."""

from functools import cache
from importlib.resources import files
from typing import Literal

import pandas as pd

from bench.presentation.document import Document, Heading, Paragraph, Table, cell
from bench.presentation.text import measured
from samplers.errors import UserError, clipped

DATASETS = ("cifar10", "imagenet64")
GROUPS = {
    "A": "EDM's checkpoint, code base diff-sampler",
    "B": "EDM's checkpoint, code base of DPM-Solver-v3",
    "C": "ScoreSDE's VP deep checkpoint, code base of DPM-Solver-v3",
    "D": "DDPM's checkpoint, DDIM's paper",
    "E": "EDM as trained and run by the authors of consistency models",
    "F": "distilled from EDM's checkpoint of the data set, EDM's FID",
    "G": "from EDM2's networks of size XL",
    "H": "distilled from EDM's class-conditional CIFAR-10 checkpoint, EDM's FID",
    "I": "ScoreSDE's VP deep checkpoint, DPM-Solver's paper",
}
"""Rows that may be compared with one another, by what they share; those of two groups, or of none, may not."""
CAVEAT = (
    "Read off papers and repositories, recomputed by nobody here. Only rows of one group may be compared: between groups the "
    "teacher, the code of the metric or the reference images differ, and a row without a group stands alone."
)


@cache
def _all() -> pd.DataFrame:
    with (files("bench.publications") / "published_fid.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype={"arxiv": str}, keep_default_na=False, na_values={"fid": [""], "nfe": [""]})


def published(dataset: str, *, verified: bool = True) -> pd.DataFrame:
    """The rows of a data set, as the package's `published_fid.csv` has them.

    Args:
        dataset: one of DATASETS.
        verified: leave out rows of whose number or label there is a doubt.

    Raises:
        UserError: no such data set.
    """
    if dataset not in DATASETS:
        raise UserError(f"no published results of {clipped(dataset)}; there are some of {', '.join(DATASETS)}")
    rows = _all()[_all()["dataset"] == dataset]
    return rows[rows["verified"] == "yes"] if verified else rows


def listing(dataset: str, calls: int | None = None, group: str | None = None, order: Literal["fid", "nfe"] = "fid") -> Document:
    """A table for each comparable group, its rows in the order of their FID, and one of the rows that stand alone.

    Args:
        dataset: one of DATASETS.
        calls: only rows of so many network evaluations.
        group: only this one of GROUPS.
        order: of the rows of a table.

    Raises:
        UserError: no such data set or group, or no row.
    """
    if group is not None and group not in GROUPS:
        raise UserError(f"no group {clipped(group)}; there are {', '.join(GROUPS)}")
    rows = published(dataset, verified=False)
    rows = rows if calls is None else rows[rows["nfe"] == calls]
    rows = rows if group is None else rows[rows["group"] == group]
    if rows.empty:
        counts = ", ".join(f"{n:g}" for n in sorted(set(published(dataset)["nfe"])) if n <= 50)
        raise UserError(f"no published result of {dataset} with that; there are some with {counts} and more evaluations")
    tables = [_table(rows[rows["group"] == name], f"Group {name}: {told}", order) for name, told in GROUPS.items()]
    tables.append(_table(rows[rows["group"] == ""], "In no group: each row stands alone", order))
    return [Heading(2, f"Published FIDs, {dataset}"), Paragraph(CAVEAT), *(t for t in tables if t.rows)]


def _table(rows: pd.DataFrame, caption: str, order: str) -> Table:
    """Rows with what must be known to read them."""
    lines = [
        [
            cell(f"{row['method']}{'' if row['verified'] == 'yes' else ' (in doubt)'}"),
            cell(int(row["nfe"])),
            cell(row["fid"], measured),
            *(cell(row[c]) for c in ("conditional", "teacher", "source_type", "arxiv", "source")),
        ]
        for _, row in rows.sort_values([order, "nfe", "method"], kind="stable").iterrows()
    ]
    columns = ["method", "evaluations", "FID", "conditional", "teacher", "kind of source", "arXiv", "source"]
    return Table(columns, lines, (1, 2), caption)
