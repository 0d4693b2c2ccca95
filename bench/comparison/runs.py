"""Two runs of a plan against each other, from their folders alone: counts, quality within its intervals, stored times."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import norm

from bench.comparison.verdicts import BETWEEN_PROCESSES, Outcome, Row, judge, judge_stored
from bench.records.differences import ROUNDING, log_ratio
from bench.records.frame import load_records
from bench.records.ranking import FRECHET, ranked_by, rankings_of

Z = float(norm.ppf(0.995))
"""Two-sided 99 % of a normal distribution, as the other verdicts have."""
COUNTS = {
    "calls": "counted.calls",
    "forwards": "counted.forwards",
    "flops": "counted.flops_per_image",
    "synchronisations": "counted.synchronisations",
}
COHORT = (
    "device", "time.clock", "environment.cpu", "environment.cores", "environment.threads", "environment.gpu.name",
    "environment.packages.torch",
)  # fmt: skip
"""What stored times must share before they are compared."""
IMAGES = ("teacher.sha256", "images", "seed", "labels")
"""What two records' images must share before their quality is compared."""
LEAST = 1e-100
"""Of a median time or rate, in its unit; the reciprocal is the most."""
TIMES = {"time": ("latency_ms", "ms"), "time, in batches": ("images_per_s", "images/s")}
QUALITY = {"slower": "worse", "faster": "better"}


def compare_runs(a: Path, b: Path, effect: float) -> Outcome:
    """Compare the cells that run `a` has with those of run `b`.

    Counts must not grow. Quality (what ranks the records, trajectory error) is judged by the 99 % interval of its log ratio at
    `effect`, Frechet distances by paired differences where both runs keep their influence values. Stored times, of latency
    ("time") and throughput ("time, in batches"), come from two processes, which alone differ by up to 9 %, so only large
    differences count (`judge_stored`), and few repetitions leave them ambiguous; they are compared on one kind
    of machine only, and not where they are marked invalid.

    Raises:
        UserError: a folder without records, or a damaged one.
    """
    runs = [load_records([folder]) for folder in (a, b)]
    before, after = ({str(r["cell"]): r for _, r in run.iterrows()} for run in runs)
    alike = len(pd.concat([run[["batch_size", "precision", "mode"]] for run in runs]).drop_duplicates()) == 1
    names = {cell: f"{r['sampler']}@{r['steps']}" if alike else cell for cell, r in (before | after).items()}
    rows: list[Row] = []
    for key, old in before.items():
        new, cell = after.get(key), names[key]
        if old["status"] != "ok":
            rows.append(Row(cell, "cell", str(old["status"]), "", "skipped", "nothing to compare with"))
        elif new is None:
            rows.append(Row(cell, "cell", "ok", "", "not comparable", "not in the second run"))
        elif new["status"] != "ok":
            rows.append(Row(cell, "cell", "ok", str(new["status"]), "wrong", str(new["error"])[:200]))
        else:
            rows += [*_counts(cell, old, new), *_quality(cell, old, new, effect), *_times(cell, old, new, effect)]
    rows += [Row(names[key], "cell", "", "", "skipped", "not in the first run") for key in after if key not in before]
    remarks = []
    if times := [r for r in rows if r.quantity in TIMES and r.verdict != "not comparable"]:
        wider = any(r.verdict == "ambiguous" for r in times)
        remarks.append(
            f"Times were stored by two processes, which alone differ by up to {BETWEEN_PROCESSES:.0%}"
            f"{'; for narrower intervals measure both with --time-precision 1%, or compare revisions' if wider else ''}."
        )
    return Outcome((str(a), str(b)), rows, {"schema": 1, "runs": [str(a), str(b)], "effect": effect}, remarks)


def _counts(cell: str, old: pd.Series, new: pd.Series) -> list[Row]:
    rows = []
    for quantity, key in COUNTS.items():
        x, y = (float(r.get(key, math.nan)) for r in (old, new))
        if math.isnan(x):  # a record of before this was counted
            continue
        if math.isnan(y):
            rows.append(Row(cell, quantity, f"{x:,.0f}", "", "not comparable", "not counted in the second run"))
            continue
        verdict = "same" if x == y else "more" if y > x else "less"
        rows.append(Row(cell, quantity, f"{x:,.0f}", f"{y:,.0f}", verdict, "" if x == y else f"{y - x:+,.0f}"))
    return rows


def _differing(old: pd.Series, new: pd.Series, keys: tuple[str, ...]) -> list[str]:
    """The keys whose values differ; one that neither has is equal."""
    pairs = [(k, old.get(k), new.get(k)) for k in keys]
    return [k for k, x, y in pairs if x != y and not (pd.isna(x) and pd.isna(y))]


def _quality(cell: str, old: pd.Series, new: pd.Series, effect: float) -> list[Row]:
    ranking = rankings_of(old.to_frame().T)[0]
    metrics = [m for m in ranked_by(ranking, map(str, old.index)) if pd.notna(old[f"quality.{m}.value"])]
    what = "Frechet distance" if ranking == FRECHET else ranking.metric
    rows = [] if metrics else [Row(cell, "quality", "", "", "not comparable", f"no {what} in the first run")]
    if pd.notna(old["quality.trajectory_error.value"]):
        metrics.append("trajectory_error")
    return rows + [_metric(cell, metric, old, new, effect, ranking.sign if ranking.ranks(metric) else 1) for metric in metrics]


def _metric(cell: str, metric: str, old: pd.Series, new: pd.Series, effect: float, sign: int) -> Row:
    """`sign` as `Ranking.sign`."""
    at = f"quality.{metric}"
    x, y = float(old[f"{at}.value"]), float(new.get(f"{at}.value", math.nan))
    a, b = f"{x:.4g}", "" if math.isnan(y) else f"{y:.4g}"
    if not math.isfinite(y):
        if pd.notna(new.get(f"{at}.n")):
            return Row(cell, metric, a, f"{y:g}", "wrong", "not a finite number")
        return Row(cell, metric, a, b, "not comparable", "not measured in the second run")
    keys = ("n", "extractor_sha256", "reference_sha256", "reference")
    made = [k for k in ("resize", "rounding") if pd.notna(old.get(f"{at}.{k}")) and pd.notna(new.get(f"{at}.{k}"))]
    if differs := _differing(old, new, (*IMAGES, *(f"{at}.{k}" for k in (*keys, *made)))):
        return Row(cell, metric, a, b, "not comparable", f"another {', '.join(differs)}")
    if abs(y - x) <= ROUNDING * abs(x):
        return Row(cell, metric, a, b, "same")
    low, high, paired = _log_interval(at, old, new)
    ends = (low, high) if sign > 0 or low is None or high is None else (-high, -low)
    verdict = judge(*ends, effect)
    note = f"{100 * (y / x - 1):+.1f} %" if x else ""
    if low is not None and high is not None:
        note += f" [{100 * math.expm1(low):+.1f}, {100 * math.expm1(high):+.1f}]{', paired' if paired else ''}"
    return Row(cell, metric, a, b, QUALITY.get(verdict, verdict), note, {"low": low, "high": high, "paired": paired})


def _log_interval(at: str, old: pd.Series, new: pd.Series) -> tuple[float | None, float | None, bool]:
    """The 99 % interval of the log ratio of a metric, and whether it comes from the same images' noises."""
    fields = {"fd": "value", "fd_low": "ci_low", "fd_high": "ci_high"}
    x, y = (pd.concat([r, pd.Series({k: r[f"{at}.{v}"] for k, v in fields.items()})]) for r in (old, new))
    if at == "quality.trajectory_error":  # the influence values are the Frechet distance's, so it counts as independent
        x["images"] = -1
    if not (x["fd"] > 0 and y["fd"] > 0):
        return None, None, False
    d = log_ratio(x, y)
    return (None, None, False) if math.isnan(d.se) else (d.value - Z * d.se, d.value + Z * d.se, d.paired)


def _times(cell: str, old: pd.Series, new: pd.Series, effect: float) -> list[Row]:
    rows = []
    differs = [k.removeprefix("environment.") for k in _differing(old, new, COHORT)]
    why = f"another {', '.join(differs)}: compare revisions instead" if differs else ""
    for which, run in (("first", old), ("second", new)):
        if run["time.conditions.valid"] in (False,):  # None and NaN: not known
            why = why or f"the {which} run's are marked invalid: {run['time.conditions.reasons']}"
    for quantity, (key, unit) in TIMES.items():
        x, y = float(old[f"time.{key}.median"]), float(new[f"time.{key}.median"])
        if math.isnan(x) and math.isnan(y):
            continue
        a, b = ("" if math.isnan(v) else f"{v:.4g} {unit}" for v in (x, y))
        if missing := [which for which, v in (("first", x), ("second", y)) if math.isnan(v)]:
            rows.append(Row(cell, quantity, a, b, "not comparable", f"not timed in the {missing[0]} run"))
            continue
        if why:
            rows.append(Row(cell, quantity, a, b, "not comparable", why))
            continue
        ends: dict[str, Any] = {k: [float(r[f"time.{key}.{k}"]) for r in (old, new)] for k in ("ci_low", "ci_high")}
        if any(v < LEAST or v > 1 / LEAST for v in (x, y, *ends["ci_low"], *ends["ci_high"])):  # NaN: there is no interval
            rows.append(Row(cell, quantity, a, b, "not comparable", "no such time can have been measured"))
            continue
        center = math.log(y / x)
        low, high = (math.log(v) for v in (ends["ci_low"][1] / ends["ci_high"][0], ends["ci_high"][1] / ends["ci_low"][0]))
        if key == "images_per_s":
            center, low, high = -center, -high, -low
        verdict = judge_stored(center, None if math.isnan(low) or math.isnan(high) else (low, high), effect)
        rows.append(Row(cell, quantity, a, b, verdict, f"{100 * math.expm1(center):+.1f} %"))
    return rows
