"""What a comparison says: faster, slower, same or ambiguous.

An effect of size e (5 %, say) is what a comparison must find. The line is drawn half way, at e / 2 on the scale of log ratios,
so that no change and a change of e are equally far from it:

    slower      the whole interval of log(time of B / time of A) lies above  log(1 + e) / 2
    faster      it lies below -log(1 + e) / 2
    same        otherwise, if it lies between -log(1 + e) and log(1 + e): whatever the difference is, it is smaller than e
    ambiguous   the rest: measure longer

One process alone is not believed: memory falls another way in each, and a neighbour may come and go. A verdict is what two
fresh processes agree on, of three at most. How often that is wrong beside a busy neighbour: `bench.comparison.calibration`.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from samplers.errors import one_line

if TYPE_CHECKING:
    from bench.presentation.document import Block

REGRESSIONS = ("slower", "more", "worse", "wrong")
UNDECIDED = ("ambiguous", "not comparable")
MARKED = (*REGRESSIONS, *UNDECIDED)
"""Verdicts that a reader must see: bold, and first in the table."""
WHOLE = ("cell", "sampler")
"""Quantities of rows that tell of a whole cell: it is gone, or fails."""
PASS, REGRESSION, UNSURE = 0, 1, 3
"""Exit codes of the gate; 2 is a user's mistake."""
PROCESSES = 3
"""Fresh processes asked at most."""
AGREED = 2
"""Of them that must say the same."""
BETWEEN_PROCESSES = 0.09
"""What stored times of the same code can differ by, relative, because two processes made them (measured; 2 to 3 % is usual)."""


def judge(low: float | None, high: float | None, effect: float) -> str:
    """The verdict of one interval [low, high] of log(time of B / time of A); None where there is no interval yet."""
    full = math.log1p(effect)
    if low is None or high is None:
        return "ambiguous"
    if low > full / 2:
        return "slower"
    if high < -full / 2:
        return "faster"
    return "same" if -full < low and high < full else "ambiguous"


def judge_stored(center: float, interval: tuple[float, float] | None, effect: float) -> str:
    """The verdict on times that two processes stored, from their log ratio and its interval within the processes.

    Two processes of the same code differ by BETWEEN_PROCESSES. So slower or faster only where the interval, made wider by
    that, lies beyond the effect: with one of 5 % from about 15 % on. same where the ratio is smaller than the effect and the
    interval hides nothing beyond those 15 %.
    """
    full, apart = math.log1p(effect), math.log1p(BETWEEN_PROCESSES)
    if interval is None:
        return "ambiguous"
    low, high = interval
    if low - apart > full:
        return "slower"
    if high + apart < -full:
        return "faster"
    hidden = full + apart
    return "same" if abs(center) <= full and -hidden <= low and high <= hidden else "ambiguous"


def middle(processes: Sequence[dict[str, Any]]) -> dict[str, float] | None:
    """What the process with the middle ratio measured, of those that have an interval; of an even number, between the two.

    {ratio, ratio_low, ratio_high, a_ms, b_ms}, or None where no process had the time.
    """
    told = sorted((p for p in processes if p["ratio_low"] is not None), key=lambda p: p["ratio"])
    if not told:
        return None
    pair = told[(len(told) - 1) // 2], told[len(told) // 2]
    keys = ("ratio", "ratio_low", "ratio_high", "a_ms", "b_ms")
    return {k: math.sqrt(pair[0][k] * pair[1][k]) for k in keys}


def agreed(verdicts: Sequence[str]) -> str | None:
    """What so many of the processes say that another could not change it; None where no two agree."""
    most = Counter(verdicts).most_common(1)
    return most[0][0] if most and most[0][1] >= AGREED else None


@dataclass(frozen=True)
class Row:
    """One compared quantity of one cell.

    Attributes:
        cell: what was compared, as "ddim@10".
        quantity: "time", "calls", "images", ..
        a: of the first side, printed as it is.
        b: of the second.
        verdict: of time faster, slower, same, ambiguous; of counts less, more, same; of quality better, worse, same,
            ambiguous; of images and cells same, wrong; of anything "not comparable", or "skipped" where there is nothing to
            compare with.
        note: why, or how sure, in a few words.
        data: numbers behind it, for the JSON file.
    """

    cell: str
    quantity: str
    a: str
    b: str
    verdict: str
    note: str = ""
    data: dict[str, Any] = field(default_factory=dict, compare=False)


@dataclass
class Outcome:
    """Rows to read, what the two sides are called, all that was measured, and what a reader of the rows should know."""

    names: tuple[str, str]
    rows: list[Row]
    data: dict[str, Any] = field(repr=False)
    remarks: list[str] = field(default_factory=list)

    def document(self) -> "list[Block]":
        """The rows and remarks to read."""
        from bench.presentation.document import (
            Paragraph,
        )  # here: workers take only verdicts from this module, and need no pandas

        a, b = self.names
        table = verdict_table(self.rows)
        return [Paragraph(f"A: {a}. B: {b}."), *table, *map(Paragraph, self.remarks)]


def counts_for(row: Row, judged: Sequence[str] = ()) -> bool:
    """Whether a row decides: all do where `judged` is empty, else its quantities, and what is told of a whole cell."""
    return not judged or row.quantity in WHOLE or bool({*row.quantity.split(", ")} & {*judged})


def exit_code(rows: Iterable[Row], judged: Sequence[str] = ()) -> int:
    """REGRESSION where a row that decides is one; else UNSURE where one is undecided, or nothing was compared; else PASS."""
    verdicts = {r.verdict for r in rows if counts_for(r, judged)}
    if verdicts & {*REGRESSIONS}:
        return REGRESSION
    return UNSURE if verdicts & {*UNDECIDED} or not verdicts - {"skipped"} else PASS


def verdict_table(rows: Sequence[Row]) -> "list[Block]":
    """What a reader must see first, verdicts with their reasons; rows that are the same but for times are counted in a line."""
    from bench.presentation.document import Cell, Paragraph, Table, cell

    told = [r for r in rows if r.verdict != "same" or r.quantity == "time"]
    order = {v: i for i, v in enumerate(MARKED)}
    lines = [
        [
            *(cell(text) for text in (r.cell, r.quantity, r.a, r.b)),
            Cell(r.verdict, r.verdict, "heed" if r.verdict in MARKED else "", one_line(r.note)),
        ]
        for r in sorted(told, key=lambda r: order.get(r.verdict, len(order)))
    ]
    blocks: list[Block] = [Table(["cell", "quantity", "A", "B", "verdict"], lines, (2, 3))] if lines else []
    if equal := Counter(r.quantity for r in rows if r not in told):
        same = "; ".join(f"{quantity} ({n})" for quantity, n in equal.items())
        blocks.append(Paragraph(f"The same on both sides: {same} (cells in brackets)."))
    return blocks
