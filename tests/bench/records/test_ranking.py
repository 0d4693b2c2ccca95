"""Which metric ranks a record."""

import pandas as pd
import pytest

from bench.records.ranking import FRECHET, Ranking, ranked_by, rankings_of


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({}, FRECHET),
        ({"rank_by.metric": None, "rank_by.better": None}, FRECHET),
        ({"rank_by.metric": float("nan"), "rank_by.better": float("nan")}, FRECHET),
        ({"rank_by.metric": "precision", "rank_by.better": "higher"}, Ranking("precision", "higher")),
        ({"rank_by.metric": "precision"}, FRECHET),
        ({"rank_by.metric": "{a}", "rank_by.better": "lower"}, FRECHET),
    ],
)
def test_a_record_names_what_ranks_it_or_the_frechet_distance_does(row, expected):
    assert rankings_of(pd.DataFrame([row, {}], index=[7, 3])) == [expected, FRECHET]


def test_the_metrics_of_a_kind_are_found_whatever_the_extractor():
    names = ("fd_mnist", "fd_a", "fdx_mnist", "kid_mnist", "is_mnist", "trajectory_error", "label_agreement", "fd_", "fd")
    columns = ["fd", "counted.calls", *(f"quality.{n}.{f}" for n in names for f in ("value", "ci_low"))]
    assert ranked_by(FRECHET, columns) == ["fd_a", "fd_mnist"]
    assert ranked_by(Ranking("is", "higher"), columns) == ["is_mnist"]
    assert not ranked_by(Ranking("recall", "higher"), columns)


def test_the_sign_makes_a_score_something_to_be_small():
    assert (FRECHET.sign, Ranking("recall", "higher").sign) == (1, -1)
