"""A limit of time for long work: trainers keep a checkpoint and stop when it is up, and go on when called again."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

_end: float | None = None


class TimeUpError(KeyboardInterrupt):
    """The time limit is over, and what was done is kept. As after Ctrl-C, the same call goes on from here."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Work inside that honours it (see `time_is_up`) stops softly after so many seconds, by `TimeUpError`."""
    global _end
    before, _end = _end, time.monotonic() + seconds
    try:
        yield
    finally:
        _end = before


def limited() -> bool:
    """Whether there is a limit."""
    return _end is not None


def time_is_up() -> bool:
    """Whether the limit is over; never without one."""
    return _end is not None and time.monotonic() >= _end


def stop_in_time() -> None:
    """Raise `TimeUpError` when the limit is over: to be called where everything so far is kept."""
    if time_is_up():
        raise TimeUpError
