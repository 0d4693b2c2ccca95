"""Warm-up: the same work again and again until its time is steady, or a cap is reached."""

import time
from collections.abc import Callable
from statistics import median

WINDOW = 3
"""Repetitions whose median is the running estimate."""


def warm_up(
    run: Callable[[], float],
    *,
    steady: float = 0.05,
    most: int = 20,
    seconds: float = 5.0,
    now: Callable[[], float] = time.perf_counter,
) -> dict[str, float | int | bool]:
    """Run until the last WINDOW differ from the WINDOW before by no more than `steady`: {repetitions, seconds, steady}.

    Args:
        run: one repetition at the real steps and shapes (two steps never reach a multistep branch): the seconds it took.
        steady: the relative change that is still called steady.
        most: repetitions at most.
        seconds: after which none is begun any more; there is always one.
        now: the clock of that cap, in seconds.
    """
    begin, times, settled = now(), [run()], False
    while not settled and len(times) < most and now() - begin < seconds:
        times.append(run())
        if len(times) >= 2 * WINDOW:
            before, after = median(times[-2 * WINDOW : -WINDOW]), median(times[-WINDOW:])
            settled = abs(after - before) <= steady * before
    return {"repetitions": len(times), "seconds": round(now() - begin, 4), "steady": settled}
