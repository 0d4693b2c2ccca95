"""What the functions are given: files, and runs by their folders or their records."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from samplers.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

File = str | Path
Files = File | Sequence[File]
Run = "File | pd.DataFrame"
"""A run's folder, or its records."""


def paths(files: Files) -> list[Path]:
    """One file or several."""
    return [Path(f) for f in ([files] if isinstance(files, File) else files)]


def folders_of(runs: "Files | pd.DataFrame") -> list[Path]:
    """The folders of runs, or those that records were read from."""
    return paths(runs if isinstance(runs, str | Path | Sequence) else list(dict.fromkeys(runs["run"])))


def name_of(side: "File | pd.DataFrame") -> str:
    """What a side of a comparison is called: as it is, or the one folder of records.

    Raises:
        UserError: records of several runs.
    """
    if isinstance(side, File):
        return str(side)
    found = folders_of(side)
    if len(found) != 1:
        raise UserError(f"records of {len(found)} runs; compare one run with another")
    return str(found[0])
