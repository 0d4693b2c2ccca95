"""Where what takes long to make is kept between runs."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """$BENCH_CACHE, or a folder in the user's cache: converged solutions, references, grids made for a teacher."""
    return Path(os.environ.get("BENCH_CACHE") or user_cache_path("sampler-bench", appauthor=False))
