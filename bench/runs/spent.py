"""Where the seconds of an invocation go besides the sampling, for `sessions.jsonl`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Spent:
    """Seconds, and how many things they were spent on."""

    count: int = 0
    seconds: float = 0.0

    @contextmanager
    def on(self, count: int) -> Iterator[None]:
        """Spend a block's time on `count` more."""
        begin = time.perf_counter()
        yield
        self.count, self.seconds = self.count + count, self.seconds + time.perf_counter() - begin


class Ledger:
    """Of one process.

    Attributes:
        features: by images that the extractor saw.
        rest: by images that were made to be scored: noise, 8-bit pictures, files; neither sampling nor features.
        metrics: by cells that were scored.
    """

    def __init__(self) -> None:
        self.features, self.rest, self.metrics = Spent(), Spent(), Spent()

    def told(self) -> dict[str, float]:
        """As a row of `sessions.jsonl` has it."""
        kinds = {"features": "images", "rest": "images", "metrics": "cells"}
        found: dict[str, float] = {}
        for name, unit in kinds.items():
            spent: Spent = getattr(self, name)
            found |= {f"{name}_{unit}": spent.count, f"{name}_s": round(spent.seconds, 4)}
        return found
