"""What must be alike in runs that one process, several, or a cluster made."""

import json
from pathlib import Path

import numpy as np


def measured(folder: Path) -> dict[str, tuple]:
    """Of each cell, what must not depend on how many made it."""
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert len({r["cell"] for r in records}) == len(records)
    found = {}
    assert [r["error"] for r in records if r["status"] != "ok"] == []
    for r in records:
        picture = (folder / "samples" / f"{r['cell']}.png").read_bytes()
        influence = np.load(folder / "influence" / f"{r['cell']}.npy").tobytes()
        found[r["cell"]] = (r["status"], r["counted"], r["quality"], r["time"]["latency_ms"]["n"], picture, influence)
    return found
