"""A training's log: one JSON object a line, each step told once."""

import json
from pathlib import Path
from typing import Any

from samplers.files import write_whole


class Log:
    """One JSON object a line; lines after the resumed step are dropped, so a log never tells a step twice."""

    def __init__(self, path: Path, step: int):
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        write_whole(path, "".join(line + "\n" for line in lines if self._told_by(line, step)).encode())
        self._file = open(path, "a", buffering=1)  # noqa: SIM115 (held for the whole run)

    @staticmethod
    def _told_by(line: str, step: int) -> bool:
        """Whether a line is whole (a kill can cut the last one) and of a step up to `step`."""
        try:
            return json.loads(line)["step"] <= step
        except ValueError:
            return False

    def write(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps({k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}) + "\n")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The rows of a finished training's log."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
