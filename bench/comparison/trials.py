"""The trials of a calibration, as a folder holds them."""

import json
from pathlib import Path
from typing import Any


def read_trials(folder: Path) -> list[dict[str, Any]]:
    """The trials of a folder so far; a last line without its end is left out."""
    log = folder / "trials.jsonl"
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text().rpartition("\n")[0].splitlines()]
