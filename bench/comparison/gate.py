"""`bench gate`: a comparison turned into an exit code."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.comparison import baseline
from bench.comparison.compare import compare, keep
from bench.comparison.settings import ComparisonSettings
from bench.comparison.verdicts import (
    PASS,
    REGRESSION,
    REGRESSIONS,
    UNDECIDED,
    WHOLE,
    Outcome,
    counts_for,
    exit_code,
)
from bench.presentation.document import Document, Paragraph, strong
from samplers.errors import UserError

WORDS = {PASS: "pass", REGRESSION: "regression"}


@dataclass(frozen=True)
class Decision:
    """Whether B may replace A.

    Attributes:
        outcome: what was compared.
        line: the decision, and why.
        code: 0 pass, 1 regression, 3 undecided; the exit code.
    """

    outcome: Outcome
    line: str
    code: int

    def document(self) -> Document:
        """The table, and the line behind it."""
        return [*self.outcome.document(), Paragraph([strong(self.line)])]


def decide(
    a: str | None,
    b: str,
    settings: ComparisonSettings,
    judged: tuple[str, ...],
    stored: Path | None,
    out: Path,
    advance: Callable[[str], None] = lambda _: None,
    given: Sequence[str] = (),
) -> Decision:
    """Compare, and say whether `b` may replace `a`.

    Args:
        a: revision, run folder or speed results that were good; None for the stored counts.
        b: what to judge, of the same kind; not used with the stored counts, which are compared with what is installed.
        settings: of the comparison.
        judged: quantities that decide; all where empty.
        stored: file of the counts; None for the repository's.
        out: folder that gets `comparison.json`, whatever the verdict.
        advance: told what goes on.
        given: flags of the command line that only revisions have a use for.

    Raises:
        UserError: what `compare` refuses, stored counts that cannot be read, or a quantity that no row has.
    """
    if a is None:
        if given:
            raise UserError(f"{', '.join(given)}: the stored counts are of every sampler; name a revision to compare with")
        path = baseline.path_of(stored)
        outcome = baseline.check(baseline.read(path), path, advance)
        keep(outcome, out)
    else:
        outcome = compare(a, b, settings, out, advance, given)
    return _decision(outcome, judged)


def _decision(outcome: Outcome, judged: tuple[str, ...]) -> Decision:
    known = {q for r in outcome.rows if r.quantity not in WHOLE for q in r.quantity.split(", ")}
    if known and (lacking := [q for q in judged if q not in known]):
        raise UserError(f"nothing here has the quantity {', '.join(lacking)}; there are {', '.join(sorted(known))}")
    code = exit_code(outcome.rows, judged)
    decisive = {PASS: (), REGRESSION: REGRESSIONS}.get(code, UNDECIDED)
    why = [f"{r.cell} {r.quantity} {r.verdict}" for r in outcome.rows if r.verdict in decisive and counts_for(r, judged)]
    more = f" and {len(why) - 5} more" if len(why) > 5 else ""
    if code != PASS and not why:
        why = ["there was nothing to compare"]
    line = f"gate: {WORDS.get(code, 'undecided')}" + (f": {'; '.join(why[:5])}{more}" if why else "")
    if judged:
        line += f" (judged by {', '.join(judged)} alone)"
    return Decision(outcome, line, code)


def update_counts(stored: Path | None, device: str = "cpu", advance: Callable[[str], None] = lambda _: None) -> Path:
    """Store the counts of the committed source as good; returns the file.

    Raises:
        UserError: uncommitted changes, or no git checkout.
    """
    path = baseline.path_of(stored)
    baseline.update(path, device, advance)
    return path
