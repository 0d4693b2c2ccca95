"""How long a task takes on the host's clock, for `bench.instruments.paired`."""

import time
from collections.abc import Callable
from typing import Any


def timed(task: Callable[[], Any]) -> float:
    """Seconds of one run."""
    begin = time.perf_counter()
    task()
    return time.perf_counter() - begin
