"""What a run left in its folder."""

import json
from pathlib import Path


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def only(folder: Path) -> dict:
    (record,) = records(folder)
    assert record["status"] == "ok", record["error"]
    return record
