"""What can be answered where images were not scored: which solver comes closest to the teacher's own solution of its ODE."""

from collections.abc import Sequence

import pandas as pd

from bench.presentation.document import Inline, strong
from bench.presentation.text import interval, num, plural
from bench.records.trajectories import surely_farther
from bench.reports.sections import Section

MOST = 40  # names in a sentence
_ERROR = "quality.trajectory_error"


def closest(section: Section, usual: Sequence[int]) -> list[Inline]:
    """Of each usual budget of calls, as far as it was measured, the smallest trajectory error and what is not told from it.

    Two are told apart where their 95 % intervals, each wider by the converged solution's own error, do not meet, or by their
    difference noise by noise, where the runs keep the errors.
    """
    rows = section.rows
    rows = rows[rows[f"{_ERROR}.value"].notna() & (rows["counted.calls"] > 0)].drop_duplicates(["label", "steps"])
    calls = rows["counted.calls"]
    budgets = dict.fromkeys(float(calls[calls <= most].max()) for most in usual if (calls <= most).any())
    found: list[Inline] = [_of(rows[calls <= budget], budget) for budget in budgets]
    if found:
        found.append(
            "Trajectory error is the distance to the converged solution from the same noise. It tells what a solver does, not "
            "how good images are; samplers that add noise have none."
        )
    return found


def _of(rows: pd.DataFrame, budget: float) -> Inline:
    rows = rows.sort_values(f"{_ERROR}.value", kind="stable")
    low, high = (rows[f"{_ERROR}.{k}"].fillna(rows[f"{_ERROR}.value"]) for k in ("ci_low", "ci_high"))
    own = rows[f"{_ERROR}.reference_error"].fillna(0)
    best, others = rows.iloc[0], rows.iloc[1:]
    near = others[(low - own).iloc[1:] <= (high + own).iloc[0]]
    paired = [surely_farther(best, row) for _, row in near.iterrows()]
    near, how = near[[not sure for sure in paired]], "by their intervals"
    if paired and None not in paired:
        how = "noise by noise"
    error = interval(*(best[f"{_ERROR}.{k}"] for k in ("value", "ci_low", "ci_high")))
    text = "Nothing else was measured there."
    if len(near):
        listed = [f"{r['label']} ({num(r['counted.calls'])})" for _, r in near.head(MOST).iterrows()]
        more = f" and {len(near) - MOST} more" if len(near) > MOST else ""
        text = f"Not told from it, {how} (calls in brackets): {', '.join(listed)}{more}."
    elif len(others):
        text = "All others are farther, noise by noise." if paired else "The intervals of all others lie above its own."
    of = f" ({plural(best['counted.calls'], 'call')}) has the smallest trajectory error, {error}. {text}"
    return [strong(f"At most {plural(budget, 'call')}: {best['label']}"), of]
