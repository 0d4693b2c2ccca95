"""The progress bar of a run: network evaluations done of those it needs, with the time left."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Display:
    """A bar for the whole run, on standard error; `quiet` shows nothing."""

    def __init__(self, quiet: bool):
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=Console(stderr=True),
            disable=quiet,
        )
        self._task = self._progress.add_task("converged solution", total=None)
        self._cells = self._done = 0

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, forwards: int, cells: int) -> None:
        """Start the bar of `forwards` network evaluations in `cells` cells."""
        self._cells = cells
        self._progress.update(self._task, total=forwards, completed=0, description=f"0 of {cells} cells")

    def advance(self, forwards: int) -> None:
        """So many network evaluations more."""
        self._progress.advance(self._task, forwards)

    def rest(self, forwards: int) -> None:
        """So many are left from here; the estimate until now may have been another."""
        self._progress.update(self._task, total=self._progress.tasks[self._task].completed + forwards)

    def cell_done(self) -> None:
        """One cell more has its record."""
        self._done += 1
        self._progress.update(self._task, description=f"{self._done} of {self._cells} cells")
