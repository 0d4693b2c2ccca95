"""The groups of rows that may be ranked together."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import pandas as pd

from bench.presentation.series import Looks
from bench.presentation.text import one_line
from bench.records.frame import MACHINE
from bench.records.ranking import FRECHET, Ranking, ranked_by, rankings_of
from samplers.spec import Spec

LABEL = 120  # characters of a label: a figure has no room for more


@dataclass
class Section:
    """Rows with the same quality key (N, extractor, resize, rounding, reference) and teacher: ranked together, no others.

    Attributes:
        metric: what they are ranked by ("fd_mnist", or another that their records name), None where it was not measured.
        rows: their records, with `fd`, `fd_low`, `fd_high` (that metric), `cost` (it, or its negative where higher is better),
            `label` (the series in figures of quality), `timed` (the series in figures of time, where batch size and mode matter
            too), `place` (in the order of cost, then of fewer calls, then of the label) and `record` (its index among all).
        ranking: the metric's kind and where it is better.
        looks: of all series of the report.
    """

    metric: str | None
    rows: pd.DataFrame
    ranking: Ranking = FRECHET
    looks: Looks = field(default_factory=Looks)

    @property
    def extractor(self) -> str:
        """Name of the extractor whose features the metric takes."""
        return (self.metric or "_").split("_", 1)[1]

    @property
    def quality(self) -> str:
        """What the rows are ranked by, in words."""
        return "Frechet distance" if self.ranking == FRECHET else "FID" if self.ranking.metric == "fid" else self.ranking.metric

    @property
    def distance(self) -> str:
        """What tables and axes call the quality that the rows are ranked by."""
        return f"{self.quality} ({self.metric or 'not measured'})"

    @property
    def with_students(self) -> bool:
        return bool(self.rows["student.name"].notna().any())

    @cached_property
    def scored(self) -> pd.DataFrame:
        """Rows with the metric, one a point: batch size and mode do not change the images."""
        rows = self.rows[self.rows["fd"].notna()].sort_values(["run_id", "cell"], kind="stable")  # not the best of several
        return rows.drop_duplicates(["label", "steps"]).sort_index()

    @cached_property
    def one_machine(self) -> bool:
        """Whether all rows were measured on one machine."""
        return one_machine(self.rows)

    @cached_property
    def timed(self) -> pd.DataFrame:
        """Rows with the metric and a latency that is valid."""
        rows = self.rows
        return rows[rows["fd"].notna() & ~disturbed(rows) & rows["time.latency_ms.median"].notna()]

    @cached_property
    def untrained(self) -> "Section":
        """The rows that take no training, as a section of their own."""
        return replace(self, rows=self.rows[self.rows["student.name"].isna()])

    @property
    def images(self) -> float:
        """How many images each row was scored on, or made."""
        first = self.rows.iloc[0]
        return float(first.get(f"quality.{self.metric}.n", first["images"]) if self.metric else first["images"])

    def key(self) -> str:
        """What the rows have in common, in words."""
        first = self.rows.iloc[0]
        labels = "without labels" if first["labels"] == "none" else f"{one_line(first['labels'], LABEL)} labels"
        parts = [one_line(first["teacher.name"], LABEL), f"{self.images:.0f} images", labels]
        return ", ".join(parts if self.metric else [*parts, "no Frechet distance"])


def machines(rows: pd.DataFrame) -> list[tuple[tuple[object, ...], pd.DataFrame]]:
    """The rows by the machine that they were measured on: times of two machines are never compared."""
    return list(rows.groupby([c for c in MACHINE if c in rows], dropna=False, sort=True))


def one_machine(rows: pd.DataFrame) -> bool:
    """Whether rows were measured on one machine."""
    return len(rows[[c for c in MACHINE if c in rows]].drop_duplicates()) <= 1


def disturbed(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Rows whose times are marked invalid: something disturbed the machine while they were taken."""
    return rows["time.conditions.valid"].eq(False)


def batch_sizes(rows: pd.DataFrame) -> str:
    """The batch sizes of rows, in words."""
    return ", ".join(f"{b:g}" for b in sorted(rows["batch_size"].dropna().unique()))


def _labelled(rows: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Sampler names, with whatever else tells a sampler's rows apart in brackets ("ddim [fp32, seed 1]")."""
    named = {"seed": "seed {}", "batch_size": "batch {}", "environment.threads": "{} threads"}
    values = rows.groupby("sampler")[list(columns)].nunique(dropna=False)
    extra = {sampler: [c for c, n in zip(columns, counts, strict=True) if n > 1] for sampler, *counts in values.itertuples()}
    specs = {sampler: Spec.parse(sampler) for sampler in extra}
    twins = rows.groupby("student.name")["student.sha256"].nunique()

    def spec_of(sampler: str, student: object, sha256: object) -> str:
        """The sampler's spec with its student's name, which says more than the path of a card; hashes tell namesakes apart."""
        name = str(student)
        name += f"-{str(sha256)[:6]}" if twins.get(name, 1) > 1 else ""
        return ":".join((specs[sampler].name, *(name if k == "student" else f"{k}={v}" for k, v in specs[sampler].options)))

    found = []
    students = zip(rows["sampler"], rows["student.name"], rows["student.sha256"], strict=True)
    for (sampler, student, sha256), told in zip(students, zip(*(rows[c] for c in columns), strict=True), strict=True):
        row = dict(zip(columns, told, strict=True))
        words = [named.get(c, "{}").format(row[c]) for c in extra[sampler] if pd.notna(row[c])]
        found.append(_short(spec_of(sampler, student, sha256) + (f" [{', '.join(words)}]" if words else "")))
    return found


def _short(label: str) -> str:
    """A label that fits into a figure, on one line; what is cut off leaves its checksum, so that two labels stay two."""
    line = one_line(label, len(label))
    return line if len(line) <= LABEL else f"{line[: LABEL - 9]}…{zlib.crc32(label.encode(errors='replace')):08x}"


def _section(metric: str | None, rows: pd.DataFrame, ranking: Ranking = FRECHET) -> Section:
    rows = rows.copy().assign(record=rows.index)  # copied: columns of a table read one by one are too many to add to
    for own, key in (("fd", "value"), ("fd_low", "ci_low"), ("fd_high", "ci_high")):
        rows[own] = rows.get(f"quality.{metric}.{key}", float("nan"))
    rows["cost"] = ranking.sign * rows["fd"]
    made = [c for c in ("grid", "last_step", "precision", "seed", "device") if c in rows]
    rows["label"] = _labelled(rows, made)
    rows["timed"] = _labelled(rows, [*made, "batch_size", "mode", *(c for c in MACHINE[1:] if c in rows)])
    rows = rows.sort_values(["counted.calls", "cost", "sampler", "cell", "run_id"], kind="stable").reset_index(drop=True)
    order = rows[["cost", "counted.calls", "label"]].sort_values(["cost", "counted.calls", "label"], kind="stable").index
    rows["place"] = pd.Series(range(len(rows)), index=order)
    return Section(metric, rows.copy(), ranking)  # copied, its columns lie side by side: rows are taken from them often


def sections(df: pd.DataFrame) -> list[Section]:
    """The groups of measured rows that may be ranked together, by teacher, labels and quality key, in a fixed order."""
    good = df[df["status"] == "ok"]
    found: list[Section] = []
    scored = pd.Series(False, index=good.index)
    rankings = rankings_of(good)
    for ranking in sorted(set(rankings)):
        own = pd.Series([r == ranking for r in rankings], index=good.index)
        for metric in ranked_by(ranking, df.columns):
            names = [f"quality.{metric}.{f}" for f in ("n", "extractor_sha256", "reference_sha256")]
            made = {"resize": "none", "rounding": "nearest"}  # what the records were made with that do not tell
            good = good.assign(**{c: good[c].fillna(v) for f, v in made.items() if (c := f"quality.{metric}.{f}") in good})
            names += [f"quality.{metric}.{f}" for f in made]
            has = good[f"quality.{metric}.value"].notna() & own
            scored |= has
            keys = ["teacher.name", "teacher.sha256", "labels", *(n for n in names if n in good)]
            found += [_section(metric, rows, ranking) for _, rows in good[has].groupby(keys, dropna=False, sort=True)]
    rest = good[~scored].groupby(["teacher.name", "teacher.sha256", "labels"], dropna=False, sort=True)
    found += [_section(None, rows) for _, rows in rest]
    looks = Looks(label for section in found for own in ("label", "timed") for label in section.rows[own])
    return [replace(section, looks=looks) for section in found]
