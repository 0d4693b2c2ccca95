"""Whether one row's trajectory error is surely larger than another's: noise by noise where their runs keep the errors."""

import os
from functools import lru_cache

import numpy as np
import pandas as pd

from bench.records.differences import Z
from bench.records.store import ERRORS

ERROR = "quality.trajectory_error"


def surely_farther(a: pd.Series, b: pd.Series) -> bool | None:
    """Whether `b`'s trajectory error is larger than `a`'s by more than chance (95 %), from the same noises.

    The squared errors are compared noise by noise, and the two may not lie nearer than the converged solution's own error lets
    tell. None where a run keeps no errors of the same noises.
    """
    if a["seed"] != b["seed"] or a[f"{ERROR}.n"] != b[f"{ERROR}.n"] or pd.isna(a[f"{ERROR}.n"]):
        return None
    first, second = (_errors(str(r["run"]), str(r["cell"]), int(r[f"{ERROR}.n"])) for r in (a, b))
    if first is None or second is None or len(first) < 2:
        return None
    difference = second.astype(np.float64) - first
    own = sum(float(np.nan_to_num(r[f"{ERROR}.reference_error"])) for r in (a, b))
    sure = difference.mean() > Z * difference.std(ddof=1) / np.sqrt(len(difference))
    return bool(sure and b[f"{ERROR}.value"] - a[f"{ERROR}.value"] > own)


def _errors(run: str, cell: str, count: int) -> np.ndarray | None:
    path = os.path.join(run, "influence", f"{cell}{ERRORS}.npy")
    try:
        return _kept(path, os.stat(path).st_mtime_ns, count)
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=4096)
def _kept(path: str, changed: int, count: int) -> np.ndarray | None:
    """The array [N] of a file that was last changed then; None if the file holds none that fits."""
    try:  # mapped: a forged header asks for more than the file has
        values = np.array(np.load(path, allow_pickle=False, mmap_mode="r"), dtype=np.float32)
    except (OSError, ValueError, TypeError, EOFError):
        return None
    return values if values.shape == (count,) and np.isfinite(values).all() else None
