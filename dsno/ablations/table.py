"""The ablations as one Markdown table: `python -m dsno.ablations.table FOLDER`, from the files in FOLDER alone.

FOLDER holds `ablations.json` (what `bench train ablations` wrote) and, where the students were scored too, the `records.jsonl`
of a `bench run` of them.
"""

import json
import sys
from pathlib import Path
from typing import Any

from samplers.errors import UserError

HEADER = ("what differs", "M", "J", "updates", "forwards trained", "seeds", "error", "error / DSNO's", "verdict")


def ablations_table(folder: Path) -> str:
    """The table of a folder.

    Raises:
        UserError: no ablations.json there, or one without the keys it should have.
    """
    try:
        content = json.loads((folder / "ablations.json").read_text())
        scores = _scores(folder / "records.jsonl")
        rows = [_row(v, content["students"], scores) for v in content["variants"]]
    except (OSError, ValueError, KeyError) as e:
        raise UserError(f"{folder}: no whole ablations.json ({e}); make it with 'bench train ablations'") from e
    header = [*HEADER, *(["fd"] if scores else [])]
    right = ["---" if h in ("what differs", "verdict") else "---:" for h in header]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, right, *rows)) + "\n"


def _scores(path: Path) -> dict[str, dict[str, float]]:
    """SHA-256 of a student to the score that ranks it (the Frechet distance), with its interval."""
    if not path.exists():
        return {}
    found = {}
    for line in path.read_text().splitlines():
        record = json.loads(line)
        ranked_by = (record.get("rank_by") or {"metric": "fd"})["metric"]  # as bench.records.ranking, which dsno may not import
        metrics = [m for m in record["quality"] or {} if m.startswith(f"{ranked_by}_")]
        if record["student"] and metrics:
            found[record["student"]["sha256"]] = record["quality"][metrics[0]]
    return found


def _row(variant: dict[str, Any], students: list[dict[str, Any]], scores: dict[str, dict[str, float]]) -> list[str]:
    own = [s for s in students if s["variant"] == variant["variant"]]
    s = own[0]
    ratio = f"{variant['ratio']:.3f}" if "ratio" in variant else ""
    if variant.get("ratio_low") is not None:
        ratio += f" [{variant['ratio_low']:.3f}, {variant['ratio_high']:.3f}]"
    cells = [
        variant.get("note") or variant["variant"],
        str(s["points"]),
        str(s["modes"]),
        str(s["updates"]),
        f"{s['student_forwards']:,}",
        str(variant["seeds"]),
        f"{variant['error']:.4f}",
        ratio,
        variant.get("verdict", "") + (f", {variant['tells']:.1%} would be" if _is_open(variant) else ""),
    ]
    if scores:
        found = [scores[x["sha256"]] for x in own if x["sha256"] in scores]
        if len(found) == 1:
            cells.append(f"{found[0]['value']:.2f} [{found[0]['ci_low']:.2f}, {found[0]['ci_high']:.2f}]")
        else:
            cells.append(", ".join(f"{f['value']:.2f}" for f in found))  # each seed's
    return cells


def _is_open(variant: dict[str, Any]) -> bool:
    """Whether it is not told apart, and how large a difference would have been is known (it came later)."""
    return variant.get("verdict") == "not told apart" and "tells" in variant


if __name__ == "__main__":
    try:
        print(ablations_table(Path(sys.argv[1] if len(sys.argv) > 1 else ".")), end="")
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
