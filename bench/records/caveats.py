"""What a reader of records should be told about their times, and what they lack."""

from collections.abc import Mapping, Sequence
from math import inf

from bench.records.schema import Record, Time
from bench.records.scores import Score


def _missed(time: Time) -> bool:
    asked, reached = time.precision_asked, time.precision_reached
    return asked is not None and (reached is None or reached > asked)


def disturbed(record: Record) -> bool:
    """Whether something was seen to disturb the timed work of a cell."""
    conditions = record.time.conditions if record.time is not None else None
    return conditions is not None and conditions.valid is False


def caveats(records: Sequence[Record]) -> list[str]:
    """What a reader of these records should be told about their times and scores: one line each, none where all is well."""
    times = [(r.cell, r.time) for r in records if r.time is not None]
    lines = []
    wide = [(t.precision_reached or inf, cell) for cell, t in times if _missed(t)]
    if wide:
        width, cell = max(wide)
        lines.append(
            f"precision: {len(wide)} of {len(times)} cells did not reach the one asked for within their budget "
            f"({cell}: {'no interval' if width == inf else f'{width:.1%}'}); raise --time-budget"
        )
    bad = [(r, r.time.conditions) for r in records if r.time is not None and r.time.conditions is not None and disturbed(r)]
    if bad:
        first, conditions = bad[0]
        spare = first.device == "cpu" and (first.environment.threads or 1) > 1
        lines.append(
            f"conditions: {len(bad)} of {len(times)} cells were timed while something disturbed them, so their times are "
            f"marked invalid ({first.cell}: {'; '.join(conditions.reasons)}). Stop what else runs here and give the same "
            "command with --again: it measures these alone"
            f"{'; or leave the rest a core, by --threads 1 and another --out' if spare else ''}"
        )
    lines += few({k: v for r in records if r.quality for k, v in (r.quality.__pydantic_extra__ or {}).items()})
    bare = [r.cell for r in records if r.quality is not None and not r.quality.__pydantic_extra__]
    if bare:
        lines.append(
            f"quality: {len(bare)} of {len(records)} cells have no score of their images (metrics none, or no extractor of the "
            "teacher's data); name one with --extractor"
        )
    return lines


def few(scores: Mapping[str, Score]) -> list[str]:
    """What to tell of Frechet distances of fewer images than dimensions, for each metric a line."""
    return [
        f"quality: {name} is of {s.n:,} images in {s.dimensions:,} dimensions; fewer images than dimensions leave the "
        "covariance singular and the distance far too large, so compare it at the same number of images alone"
        for name, s in scores.items()
        if name.startswith(("fd", "fid")) and s.n < (s.dimensions or 0)
    ]
