"""A training's log: one JSON object a line, each step told once."""

import json
from pathlib import Path
from typing import Any

from samplers.files import read_rows, write_whole

LOG = "log.jsonl"


class Log:
    """One JSON object a line; lines after the resumed step are dropped, so a log never tells a step twice."""

    def __init__(self, folder: Path, step: int):
        path = folder / LOG
        told = [row for row in read_rows(path) if row["step"] <= step]
        write_whole(path, "".join(json.dumps(row) + "\n" for row in told).encode())
        self._file = open(path, "a", buffering=1)  # noqa: SIM115 (held for the whole run)

    def write(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps({k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}) + "\n")
