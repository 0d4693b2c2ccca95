"""How a run tells how far it is."""

import io
import re

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bench.runs.progress import Display


class Hand:
    """A clock that is moved by hand."""

    def __init__(self):
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def displayed(quiet: bool = False) -> tuple[Display, io.StringIO, Hand]:
    out, clock = io.StringIO(), Hand()
    return Display(quiet, Console(file=out, width=80), clock), out, clock


def test_without_a_terminal_a_line_a_minute():
    display, out, clock = displayed()
    with display:
        display.begin(6000, 4)
        for _ in range(300):
            clock.at += 1
            display.now("timing, round 2 of 10")
            display.advance(10)
    lines = out.getvalue().splitlines()
    assert lines[0] == "bench: 4 cells to measure; a line a minute tells how far it is"
    assert [line.split(",")[0] for line in lines[1:]] == [
        "bench: 10% after 60 s", "bench: 20% after 2 min", "bench: 30% after 3 min", "bench: 40% after 4 min",
        "bench: 50% after 5 min",
    ]  # fmt: skip
    assert "timing, round 2 of 10" in lines[1]
    assert lines[-1].endswith("5 min left")


def test_quiet_says_nothing():
    display, out, clock = displayed(quiet=True)
    with display:
        display.begin(100, 1)
        clock.at += 1000
        display.advance(50)
    assert out.getvalue() == ""


def test_a_terminal_sees_the_phase_and_the_cell():
    out, clock = io.StringIO(), Hand()
    display = Display(False, Console(file=out, width=80, force_terminal=True), clock)
    with display:
        display.begin(100, 3)
        for cell in display.each(["a", "b", "c"], "counting"):
            display.advance(len(cell))
            display._progress.refresh()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    assert all(f"counting, cell {i} of 3" in text for i in (1, 2, 3))


def test_the_time_left_comes_from_the_last_minute():
    display, _, clock = displayed()
    display.begin(10_000, 2)
    for _ in range(100):  # a slow warm-up
        clock.at += 10
        display.advance(1)
    slow = display.left()
    assert slow is not None
    assert abs(slow - 99_000) < 1000
    for _ in range(70):  # then the rate of the rest
        clock.at += 1
        display.advance(100)
    assert display.left() == (10_000 - 7100) / 100


@given(st.lists(st.tuples(st.floats(0, 500), st.integers(0, 1000)), max_size=60), st.integers(0, 10_000))
def test_it_never_fails_and_never_tells_a_negative_time(steps: list[tuple[float, int]], total: int):
    display, _, clock = displayed()
    display.begin(total, 1)
    for seconds, forwards in steps:
        clock.at += seconds
        display.advance(forwards)
        assert (display.left() or 0) >= 0
