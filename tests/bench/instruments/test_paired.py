"""The paired clock's arithmetic and its verdicts, on times that are made up."""

import math
import random
from itertools import count

import pytest

from bench.comparison.paired_worker import judged
from bench.comparison.verdicts import Row, agreed, judge, verdict_table
from bench.instruments.paired import FEWEST, WARM_UP, Paired, Rule, measure
from bench.presentation import markdown

EFFECT = 0.05
FULL = math.log1p(EFFECT)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.51 * FULL, 2.0, "slower"),
        (0.51 * FULL, 0.9 * FULL, "slower"),  # beyond the line, though smaller than the effect
        (-2.0, -0.51 * FULL, "faster"),
        (-0.9 * FULL, 0.9 * FULL, "same"),
        (0.4 * FULL, 0.6 * FULL, "same"),
        (0.4 * FULL, 1.1 * FULL, "ambiguous"),
        (-1.1 * FULL, 0.0, "ambiguous"),
        (None, None, "ambiguous"),
    ],
)
def test_verdict_of_an_interval(low, high, said):
    assert judge(low, high, EFFECT) == said


@pytest.mark.parametrize(
    ("said", "together"),
    [
        (["slower", "slower"], "slower"),
        (["slower", "same", "slower"], "slower"),
        (["slower", "same", "faster"], None),
        (["slower"], None),
        (["same", "ambiguous", "same"], "same"),
        ([], None),
    ],
)
def test_two_processes_must_agree(said, together):
    assert agreed(said) == together


def test_the_table_tells_the_worst_first_and_sums_up_what_is_equal():
    rows = [
        Row("a@1", "calls", "1", "1", "same"),
        Row("b@1", "calls", "1", "1", "same"),
        Row("a@1", "time", "1 ms", "1 ms", "same"),
        Row("b@1", "time", "1 ms", "2 ms", "slower"),
    ]
    told = markdown.render(verdict_table(rows))
    assert told.index("**slower**") < told.index("| a@1 | time")
    assert "The same on both sides: calls (2)" in told


class Machine:
    """Seconds that a run would take: B's are `slowdown` times A's, both under bursts that hit neighbouring runs alike."""

    def __init__(self, slowdown: float, noise: float, seed: int):
        self.random, self.slowdown, self.noise = random.Random(seed), slowdown, noise
        self.load, self.runs = 1.0, []

    def timed(self, side) -> float:
        self.runs.append(side)
        if self.random.random() < 0.05:
            self.load = 1 + self.random.random()
        return 0.01 * self.load * (self.slowdown if side == "B" else 1) * math.exp(self.random.gauss(0, self.noise))


def said(slowdown: float, seed: int, seconds: float = 60) -> str:
    machine = Machine(slowdown, 0.02, seed)
    found = measure({"cell": ("A", "B")}, Rule(EFFECT, seconds), seed, machine.timed)
    return judged(found["cell"], EFFECT)["verdict"]


def test_a_slowdown_of_the_effect_is_found_and_none_is_invented():
    assert {said(1.05, k) for k in range(40)} == {"slower"}
    assert {said(1.0, k) for k in range(40)} == {"same"}
    assert {said(1 / 1.05, k) for k in range(40)} == {"faster"}


def test_two_per_cent_is_never_called_faster():
    assert {said(1.02, k) for k in range(40)} <= {"same", "ambiguous", "slower"}


def test_sides_take_turns_in_random_order_after_a_warm_up():
    machine = Machine(1.0, 0.02, 0)
    measure({"cell": ("A", "B")}, Rule(EFFECT, 60), 0, machine.timed)
    assert machine.runs[: 2 * WARM_UP] == ["A", "B"] * WARM_UP
    pairs = list(zip(machine.runs[2 * WARM_UP :: 2], machine.runs[2 * WARM_UP + 1 :: 2], strict=True))
    assert set(pairs) == {("A", "B"), ("B", "A")}


def test_the_ratio_is_b_over_a_whatever_the_order():
    ticks = count(1)
    found = measure({"cell": ("A", "B")}, Rule(EFFECT, 1e9), 0, lambda side: (3.0 if side == "B" else 1.5) + 0 * next(ticks))
    summary = judged(found["cell"], EFFECT)
    assert (summary["ratio"], summary["pairs"]) == (pytest.approx(2.0), FEWEST)
    assert (summary["a_ms"], summary["b_ms"]) == (1500, 3000)


def test_time_that_is_spent_ends_it_undecided():
    found = measure({"cell": ("A", "B")}, Rule(EFFECT, 0.3), 0, Machine(1.0, 0.02, 0).timed)
    assert len(found["cell"].a) < FEWEST
    assert judged(Paired(found["cell"].a[:5], found["cell"].b[:5]), EFFECT)["verdict"] == "ambiguous"
