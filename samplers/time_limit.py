"""Limits of time: for long work, which stops softly and goes on when called again; and for code of others, which may hang."""

import signal
import threading
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


class OverdueError(BaseException):
    """Code that is not ours took too long. No Exception, so that its own handlers do not take it for an error of theirs."""


@contextmanager
def at_most(seconds: float | None) -> Iterator[None]:
    """Stop the block by `OverdueError` once it has run for so many seconds; None for no limit.

    The system's alarm rings, so a loop in Python, a sleep or a lock is left wherever it is, compiled code when it comes back; a
    loop that swallows the error is told again each second. Without a limit on Windows and outside the main thread, where there
    is no such alarm: a process of its own for each pass would be stopped there too, but could not share the networks.
    """
    if seconds is None or not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    over, begin = False, time.monotonic()

    def ring(*_: object) -> None:
        if not over:
            raise OverdueError(f"not done after {seconds:.3g} s")

    handler = signal.signal(signal.SIGALRM, ring)
    outer, again = signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        over = True
        left = max(outer - (time.monotonic() - begin), 1e-3) if outer else 0.0
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, handler or signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, left, again)
