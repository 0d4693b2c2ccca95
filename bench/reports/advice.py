"""Which cell to use for a budget, and whether the records can tell: the one place where reports, pages and commands decide.

Without a wish for quality the best within the budget is sought, and of what is statistically tied with it the cheapest: noise
hides which is better, not which costs less. With a wish (or a number of images) it is the cheapest of those that are surely as
good. Where that leaves several that nothing tells apart, none is chosen.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from bench.presentation.text import measured
from bench.records.differences import Difference, Z, difference, log_ratio
from bench.reports.break_even import total_seconds
from bench.reports.budget import CLOSE, Budget
from bench.reports.ranking import Winner, winner
from bench.reports.sections import Section, disturbed

MACHINES = "The rows were timed on different machines, so no time decides; give one run, or --calls."
UNTESTED = "No two rows there could be tested against each other, for their scores have no intervals; more images do."
LATENCY = "time.latency_ms"


@dataclass(frozen=True)
class Advice:
    """What the records of a section say to a budget.

    Attributes:
        budget: what was asked for.
        unit: what costs are told in, "calls", "ms" or "seconds" (for all images).
        top: the best quality within the budget with its ties; None where nothing fits.
        best: the row that a quality is asked in terms of: the best of all measured, or of the budget.
        chosen: the row to use; None where the records cannot tell, or nothing fits.
        runner_up: what comes next; None where nothing does.
        level: rows that cannot be told apart where none is chosen.
        perhaps: cheaper rows that may be good enough, or not.
        untrained: the row to use of those without training, where the chosen one is trained.
        refused: why nothing can be said, or nothing fits.
    """

    budget: Budget
    unit: str = "calls"
    top: Winner | None = None
    best: pd.Series | None = None
    chosen: pd.Series | None = None
    runner_up: pd.Series | None = None
    level: list[pd.Series] = field(default_factory=list)
    perhaps: list[pd.Series] = field(default_factory=list)
    untrained: pd.Series | None = None
    refused: str = ""


def advise(section: Section, budget: Budget) -> Advice:
    """What a section's records say to a budget. Times marked invalid are not used."""
    if section.metric is None:
        return Advice(budget, refused=f"No {section.quality} was measured, so no sampler can be called best.")
    if budget.timed and not section.one_machine:
        return Advice(budget, refused=MACHINES)
    best = winner(section.scored) if budget.quality is not None else None
    advice = _decided(section, budget, best)
    if advice.chosen is None or pd.isna(advice.chosen["student.name"]) or budget.images is not None:
        return advice
    other = _decided(section.untrained, budget, best)
    return replace(advice, untrained=other.chosen)


def _decided(section: Section, budget: Budget, best: Winner | None) -> Advice:
    """`best` of all measured is what a quality is asked in terms of, else the best of the budget."""
    unit = unit_of(section, budget)
    rows = candidates(section, budget, unit)
    top = winner(rows)
    if top is None:
        return Advice(budget, unit, refused=_nothing(section, budget))
    costs = _costs(rows, budget, unit)
    advice = Advice(budget, unit, top, (best or top).row)
    if budget.quality is None and budget.images is None:
        return _best(advice, rows, costs)
    return _cheapest(advice, rows, costs, section.ranking.sign)


def unit_of(section: Section, budget: Budget) -> str:
    """What costs are told in: "seconds" for a number of images, "ms" where times decide and are valid, else "calls"."""
    if budget.images is not None:
        return "seconds"
    if budget.latency_ms is not None:
        return "ms"
    rows = section.scored
    known = rows[f"{LATENCY}.median"].notna().all() and not disturbed(rows).any() and section.one_machine
    return "ms" if budget.quality is not None and known else "calls"


def candidates(section: Section, budget: Budget, unit: str) -> pd.DataFrame:
    """The scored rows that keep to a budget (of latency with the upper end of its interval); only valid times for times."""
    rows = section.scored
    if unit != "calls":
        rows = section.timed
    kept = rows["counted.calls"] <= (budget.calls or np.inf)
    if budget.latency_ms is not None:
        kept &= slowest(rows) <= budget.latency_ms
    if budget.memory is not None:
        kept &= rows["memory.peak_bytes"] <= 1e9 * budget.memory
    return rows[kept]


def slowest(rows: pd.DataFrame) -> pd.Series:
    """The upper end of each row's interval of latency, ms; its median where it has no interval."""
    median = rows[f"{LATENCY}.median"]
    return rows[f"{LATENCY}.ci_high"].fillna(median).clip(lower=median)


def _nothing(section: Section, budget: Budget) -> str:
    """Why no row keeps to a budget, with what to measure."""
    if budget.timed and not (section.rows[f"{LATENCY}.median"].notna() & ~disturbed(section.rows)).any():
        return "No row has times that are valid; measure on a quiet machine, or give --calls."
    memory = section.rows["memory.peak_bytes"].min()
    if budget.memory is not None and pd.isna(memory):
        return "No memory was measured here; leave out --memory."
    least = f"the fewest calls are {section.scored['counted.calls'].min():g}" if len(section.scored) else "nothing was scored"
    if budget.latency_ms is not None:
        least = f"the fastest takes {slowest(section.rows).min():.3g} ms"
    if budget.memory is not None and memory > 1e9 * budget.memory:
        least = f"the least memory is {memory / 1e9:.3g} GB"
    return f"Nothing measured keeps to {budget.told()}: {least}."


def _best(advice: Advice, rows: pd.DataFrame, costs: pd.DataFrame) -> Advice:
    """The cheapest of what ties with the best quality."""
    top = advice.top
    assert top is not None
    if not top.alone and not top.tested:
        return replace(advice, refused=UNTESTED)
    tied = rows.loc[[top.row.name, *(index for index in top.ties if index not in top.untested)]]
    left = _least(tied, costs)
    if len(left) > 1:
        return replace(advice, level=_listed(left))
    others = (tied if len(tied) > 1 else rows).drop(index=left.index).sort_values("place")
    return replace(advice, chosen=left.iloc[0], runner_up=others.iloc[0] if len(others) else None)


def _cheapest(advice: Advice, rows: pd.DataFrame, costs: pd.DataFrame, sign: int) -> Advice:
    """The cheapest of what is surely as good as asked."""
    best = advice.best
    assert best is not None
    bound = advice.budget.quality or CLOSE
    rows = rows.loc[costs[costs["value"].notna()].sort_values(["value", "work"], kind="stable").index]
    told = pd.Series({index: _within(best, row, bound, sign) for index, row in rows.iterrows()}, dtype=object)
    sure, maybe = rows[told == "yes"], rows[told == "perhaps"]
    if sure.empty:
        limit = f"{bound:g} times {measured(best['fd'])}, the best measured"
        return replace(advice, perhaps=_listed(maybe), refused=f"Nothing in the budget is surely within {limit}.")
    left = _least(sure, costs)
    if (found := winner(left)) is not None and not found.ties:
        left = left.loc[[found.row.name]]
    perhaps = _listed(maybe[costs["high"][maybe.index] < costs["low"][left.index].min()])
    if len(left) > 1:
        return replace(advice, level=_listed(left), perhaps=perhaps)
    rest = _listed(sure.drop(index=left.index))
    return replace(advice, chosen=left.iloc[0], runner_up=rest[0] if rest else None, perhaps=perhaps)


def seconds_for(row: pd.Series, images: float) -> tuple[float, float]:
    """Seconds of training (0 without; NaN where no card tells) and of making so many images in batches."""
    trained = 0.0 if pd.isna(row["student.name"]) else total_seconds(row)
    return trained, images / float(row["time.images_per_s.median"])


def _costs(rows: pd.DataFrame, budget: Budget, unit: str) -> pd.DataFrame:
    """What each row costs in a unit, as value, low, high (95 %), and the work behind it in teacher-equivalents."""
    if unit == "seconds":
        images = budget.images or np.nan
        training = pd.Series([seconds_for(r, images)[0] for _, r in rows.iterrows()], rows.index, dtype=float)
        value, low, high = (training + images / rows[f"time.images_per_s.{e}"] for e in ("median", "ci_high", "ci_low"))
    elif unit == "ms":
        value, low, high = (rows[f"{LATENCY}.{e}"] for e in ("median", "ci_low", "ci_high"))
    else:
        value = low = high = rows["counted.calls"]
    work = rows["counted.teacher_equivalents"].fillna(np.inf)
    ends = {"low": low.fillna(value).clip(upper=value), "high": high.fillna(value).clip(lower=value)}
    return pd.DataFrame({"value": value, **ends, "work": work})


def _least(rows: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """The rows whose cost cannot be told from the smallest, and of these the ones of least work."""
    own = costs.loc[rows.index]
    near = own[own["low"] <= own.sort_values("value", kind="stable")["high"].iloc[0]]
    return rows.loc[near.index[near["work"] == near["work"].min()]]


def _listed(rows: pd.DataFrame) -> list[pd.Series]:
    return [row for _, row in rows.iterrows()]


def _within(best: pd.Series, row: pd.Series, bound: float, sign: int) -> str:
    """Whether a row is at most `bound` times worse than the best: "yes", "perhaps" (95 %) or "no"."""
    if row.name == best.name:
        return "yes"
    d = excess(best, row, sign)
    room = math.log(bound)
    if math.isnan(d.value) or math.isnan(d.se):
        return "perhaps" if d.value <= room else "no"
    return "yes" if d.value + Z * d.se <= room else "perhaps" if d.value - Z * d.se <= room else "no"


def excess(best: pd.Series, row: pd.Series, sign: int) -> Difference:
    """How many times worse a row is than the best, as the logarithm with its error; NaN where a score is not above 0."""
    if not (best["fd"] > 0 and row["fd"] > 0):
        return Difference(math.nan, math.nan, False, 0.0)
    return log_ratio(best, row) if sign > 0 else log_ratio(row, best)


def images_to_tell(a: pd.Series, b: pd.Series) -> float:
    """Images a cell from which the difference of two rows would be larger than chance, if it stays what it is; or infinity."""
    d = difference(a, b)
    if abs(d.value) <= d.rounding or math.isnan(d.se):
        return math.inf
    return float(a["images"]) * (Z * d.se / d.value) ** 2
