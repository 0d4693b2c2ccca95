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

    def row(self, cells: int, wall: float, sampling: float) -> dict[str, float]:
        """What an invocation took, interrupted or not: the harness's own share is what the wall has beyond the sampling.

        Args:
            cells: that it was asked for.
            wall, sampling: seconds in all, and inside samplers; of several processes it is all the first one's.
        """
        return {
            "cells_asked": cells,
            "wall_s": round(wall, 3),
            "sampling_s": round(sampling, 3),
            "wall_over_sampling": round(wall / max(sampling, 1e-9), 4),
            "features_images": self.features.count,
            "features_s": round(self.features.seconds, 4),
            "rest_images": self.rest.count,
            "rest_s": round(self.rest.seconds, 4),
            "metrics_cells": self.metrics.count,
            "metrics_s": round(self.metrics.seconds, 4),
        }
