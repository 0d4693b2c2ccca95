"""Which of a record's metrics ranks it, and where that is better: the one place that knows."""

import re
from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd


class Ranking(NamedTuple):
    """A kind of score ("fd" of fd_mnist, fd_cifar10) and where it is better, "lower" or "higher"."""

    metric: str
    better: str

    @property
    def sign(self) -> int:
        """What makes a score something to be small: 1, or -1 where higher is better."""
        return -1 if self.better == "higher" else 1

    def ranks(self, name: str) -> bool:
        """Whether a record's metric of this name ("fd_mnist") is of this kind."""
        kind, _, extractor = name.partition("_")
        return kind == self.metric and bool(extractor)


FRECHET = Ranking("fd", "lower")
"""What ranks a record that names nothing else."""


def rankings_of(df: pd.DataFrame) -> list[Ranking]:
    """What ranks each row of a table of records: its `rank_by`, or the Frechet distance where that is no name of a score."""
    pairs = df.reindex(columns=["rank_by.metric", "rank_by.better"]).itertuples(index=False)
    return [Ranking(m, b) if isinstance(b, str) and re.fullmatch("[a-z][a-z0-9]*", str(m)) else FRECHET for m, b in pairs]


def ranked_by(ranking: Ranking, columns: Iterable[str]) -> list[str]:
    """The metrics of a kind among a table's columns ("quality.fd_mnist.value"), sorted."""
    parts = [c.split(".") for c in columns]
    return sorted(p[1] for p in parts if len(p) == 3 and (p[0], p[2]) == ("quality", "value") and ranking.ranks(p[1]))
