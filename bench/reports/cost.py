"""What a cell of many images costs, from the rates that a run measured: the table of docs/scale.md.

    python -m bench.reports.cost RUN... --images 50000

Sampling goes by the highest throughput that was timed, of the batch size or the sweep; features, metrics and the rest (noises,
decoding, 8-bit pictures, files) by what they took in that run, as its `sessions.jsonl` tells.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.presentation import markdown
from bench.presentation.document import Document, Heading, Paragraph, Table, cell
from bench.presentation.text import measured, plural
from bench.records.schema import Record
from bench.records.store import read_records
from samplers.errors import UserError
from samplers.files import read_rows

COLUMNS = ("sampler", "steps", "calls", "batch", "images/s", "forwards/s", "sampling, s", "features, s", "rest, s", "cell, h")
PARTS = {"features": "images", "rest": "images", "metrics": "cells"}
"""Of `bench.runs.spent.Ledger`, and by what each is counted."""


def cost(folder: Path, images: int) -> Document:
    """What each timed cell of a run would cost with so many images, and all of them together.

    Raises:
        UserError: a folder without records, or none that was timed.
    """
    records = [r for r in read_records(folder / "records.jsonl") if r.time and r.counted]
    if not records:
        raise UserError(f"no cell in {folder} was timed; run a plan with --repetitions")
    each = _each(folder)
    rows, total = [], 0.0
    for r in records:
        assert r.time
        assert r.counted
        batch, rate = fastest(r)
        sampling, features, rest = images / rate, *(images * each[k] for k in ("features", "rest"))
        whole = sampling + features + rest + each["metrics"]
        total += whole
        numbers = (rate, rate * r.counted.forwards, sampling, features, rest, whole / 3600)
        rows.append([cell(r.sampler), *map(cell, (r.steps, r.counted.calls, batch)), *(cell(v, measured) for v in numbers)])
    e = records[0].environment
    on = e.gpu.name if e.gpu else f"{e.cpu}, {plural(e.threads or 1, 'thread')}"
    told = f"{plural(len(records), 'cell')} of {images:,} images: {measured(total / 3600)} hours of {on}"
    rates = [f"{measured(1 / each[k])} images/s" if each[k] else "not measured" for k in ("features", "rest")]
    beside = f"features {rates[0]}, the rest {rates[1]}, metrics {measured(each['metrics'])} s a cell"
    return [Heading(2, folder.name), Paragraph(f"{told}; {beside}."), Table(COLUMNS, rows, right=range(1, len(COLUMNS)))]


def fastest(record: Record) -> tuple[int, float]:
    """The batch size of the highest throughput that was timed, and that in images a second."""
    assert record.time
    points = [(record.batch_size, record.time.images_per_s.median)]
    points += [(p.batch_size, p.images_per_s.median) for p in record.time.sweep or ()]
    return max(points, key=lambda p: p[1])


def _each(folder: Path) -> dict[str, float]:
    """Seconds that each part took in a run for one image, or one cell; 0 where nothing tells."""
    sessions = read_rows(folder / "sessions.jsonl")
    found = {}
    for part, unit in PARTS.items():
        count, seconds = (sum(row.get(f"{part}_{k}", 0) for row in sessions) for k in (unit, "s"))
        found[part] = seconds / count if count else 0.0
    return found


def main(
    runs: Annotated[list[Path], typer.Argument(help="folders that 'bench run' made")],
    images: Annotated[int, typer.Option(help="of a cell")] = 50_000,
) -> None:
    """What cells of so many images cost, as Markdown."""
    print("\n".join(markdown.render(cost(folder, images)) for folder in runs), end="")


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as e:
        print(f"bench.reports.cost: {e}", file=sys.stderr)
        sys.exit(2)
