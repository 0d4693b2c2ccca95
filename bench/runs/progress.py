"""How a run tells how far it is: a bar on a terminal, a line a minute elsewhere; both on standard error."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bench.presentation.text import plural

T = TypeVar("T")
RECENT = 60.0
"""Seconds whose rate tells the time left."""
SETTLED = 5.0
"""Seconds before which no rate is believed."""
EVERY = 60.0
"""Seconds between two lines where there is no terminal."""


class Display:
    """Network evaluations done of those that a run needs, what is done now, and about how long it will take.

    Args:
        quiet: show nothing.
        console: where to; standard error.
        now: seconds of a clock.
        transient: let the bar vanish at the end.
    """

    def __init__(
        self,
        quiet: bool,
        console: Console | None = None,
        now: Callable[[], float] = time.monotonic,
        *,
        transient: bool = False,
    ):
        self._console = console or Console(stderr=True)
        self._quiet, self._lines = quiet, not quiet and not self._console.is_terminal
        self._now, self._what = now, "preparing"
        self._done, self._total = 0, 0
        self._cells, self._recorded = 0, 0
        self._recent: deque[tuple[float, int]] = deque()
        self._begun = self._told = now()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[share]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            disable=quiet or self._lines,
            expand=True,
            transient=transient,
        )
        self._task = self._progress.add_task(self._what, total=None, left="", share="")

    def __enter__(self) -> "Display":
        self._begun = self._told = self._now()
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, forwards: int, cells: int) -> None:
        """A run of `forwards` network evaluations in `cells` cells begins; what was done before, prepared it."""
        self._done, self._cells = 0, cells
        self._recent.clear()
        if self._lines:
            self._say(f"{plural(cells, 'cell')} to measure; a line a minute tells how far it is")
        self.rest(forwards)

    def rest(self, forwards: int) -> None:
        """So many are left from here; the estimate until now may have been another."""
        self._total = self._done + forwards
        self._show()

    def now(self, what: str) -> None:
        """What is done from here on, in a few words."""
        self._what = what
        self._show()

    def each(self, items: Sequence[T], what: str) -> Iterator[T]:
        """The items one by one, each told as "WHAT, cell i of n"."""
        for i, item in enumerate(items, 1):
            self.now(f"{what}, cell {i} of {len(items)}")
            yield item

    def advance(self, forwards: int) -> None:
        """So many network evaluations more."""
        self._done += forwards
        self._show()

    def cell_done(self) -> None:
        """One cell more has its record."""
        self._recorded += 1
        self._show()

    def left(self) -> float | None:
        """Seconds that the rest will take at the rate of the last minute; None while nobody can say."""
        (first, before), (last, done) = self._recent[0], self._recent[-1]
        if last - first < SETTLED or done <= before or not self._total:
            return None
        return max(self._total - done, 0) * (last - first) / (done - before)

    def _show(self) -> None:
        now = self._now()
        self._recent.append((now, self._done))
        while len(self._recent) > 2 and self._recent[1][0] <= now - RECENT:
            self._recent.popleft()
        left = self.left()
        ahead = "" if left is None else f"{_about(left)} left"
        share = f"{min(self._done / self._total, 1):.0%}" if self._total else ""
        self._progress.update(
            self._task, completed=self._done, total=self._total or None, description=self._what, share=f"{share:>4}", left=ahead
        )
        if self._lines and now - self._told >= EVERY:
            recorded = f"{self._recorded} of {plural(self._cells, 'record')} written" if self._recorded else ""
            after = f"after {_about(now - self._begun)}"
            self._say(", ".join(filter(None, (f"{share} {after}".strip(), self._what, recorded, ahead))))

    def say(self, line: str) -> None:
        """A line that stays."""
        if not self._quiet:
            self._say(line)

    def _say(self, line: str) -> None:
        self._told = self._now()
        self._console.print(f"bench: {line}", markup=False, highlight=False, soft_wrap=True)


def _about(seconds: float) -> str:
    """A duration as a person would say it: "40 s", "3 min", "2 h 10 min"."""
    if seconds < 90:
        return f"{max(round(seconds / 5), 1) * 5} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
