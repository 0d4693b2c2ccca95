"""Speed results on disk: pytest-benchmark's own JSON, and the list for github-action-benchmark, whose charts show it.

pytest-benchmark is the store. What it is silent about is insisted on here: results of another kind of machine are refused, and
a benchmark that is not there, or has no time, is told of.

    pytest tests/speed --benchmark-only --benchmark-json speed.json
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom

from bench.comparison.verdicts import BETWEEN_PROCESSES, Row, judge_stored
from bench.instruments.statistics import median_interval
from bench.machine.environment import differences
from samplers.errors import UserError
from samplers.files import read_json, write_json

CONFIDENCE = 0.975
"""Of each of two medians' intervals, so that their ratio's has 95 %."""
CPU_SHARE = 0.95
"""Of its time that a benchmark must have had a core, or it is not judged; the rest it waited, for a disk or other processes."""
REMAKE = "make it with 'pytest tests/speed --benchmark-only --benchmark-json FILE'"


@dataclass(frozen=True)
class Speed:
    """The times of one benchmark, in seconds a call.

    Attributes:
        median, q1, q3, minimum: of the rounds; q1 and q3 are the quartiles.
        rounds: how many there were.
        data: each round's time, in the order they came; empty where the file does not keep them.
        extra: what the benchmark says of itself: calls, forwards, batch, cpu_share (of its time that it had a core), ...
    """

    median: float
    q1: float
    q3: float
    minimum: float
    rounds: int
    data: tuple[float, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not all(v > 0 and math.isfinite(v) for v in (self.median, self.q1, self.q3, self.minimum, *self.data)):
            raise ValueError("a time must be a number above 0")
        if not float(self.extra.get("cpu_share", 1.0)) >= 0:
            raise ValueError("a share must be a number from 0 on")

    def interval(self) -> tuple[float, float] | None:
        """Where the true median lies with at least 97.5 % confidence, whatever the distribution; None for too few rounds.

        Two order statistics of binomial coverage: the narrowest pair where each round's time is there (from 7 rounds on), the
        quartiles where only they are (from 24 rounds on).
        """
        if self.data:
            low, high = median_interval(np.array(self.data), CONFIDENCE)
            return None if low is None or high is None else (low, high)
        inside = (self.rounds + 1) // 4  # pytest-benchmark's quartiles are nowhere further in than this order statistic
        return (self.q1, self.q3) if 2 * binom.cdf(inside, self.rounds, 0.5) <= 1 - CONFIDENCE else None


@dataclass(frozen=True)
class SpeedResults:
    """What one run of the suite measured: on which cohort (see `fingerprint`), and each benchmark's times by its full name."""

    cohort: dict[str, Any]
    benchmarks: dict[str, Speed]


class NotComparableError(UserError):
    """Two results of different cohorts; `keys` are those in which they differ."""

    def __init__(self, keys: Sequence[str], baseline: dict[str, Any], current: dict[str, Any]):
        self.keys = list(keys)
        told = "; ".join(f"{k} was {baseline.get(k)}, now {current.get(k)}" for k in keys)
        super().__init__(f"not comparable: {told}. Make a baseline on this kind of machine")


# ---------------------------------------------------------------------- files


def read(path: Path) -> SpeedResults:
    """The results in a file of pytest-benchmark's (`--benchmark-json`, `--benchmark-save`).

    A benchmark without a time is left out, so that `compare_speeds` tells of it.

    Raises:
        UserError: no such file, not JSON, another schema, no cohort, or not one benchmark with a time.
    """
    content = read_json(path, "speed results", REMAKE, ("benchmarks", "machine_info"))
    try:
        results = _from_pytest(content)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as e:
        raise UserError(f"{path} is not pytest-benchmark's JSON; {REMAKE}") from e
    if not results.benchmarks:
        raise UserError(f"{path} has no times: no benchmark ran; {REMAKE}")
    if not results.cohort:
        raise UserError(f"{path} does not say which machine it is of (machine_info.cohort); {REMAKE}")
    return results


def _from_pytest(content: dict[str, Any]) -> SpeedResults:
    found = {}
    for entry in content["benchmarks"]:
        stats = entry.get("stats") or {}
        if stats.get("rounds") and stats.get("median"):
            median, q1, q3, minimum = (float(stats[k]) for k in ("median", "q1", "q3", "min"))
            data = tuple(float(v) for v in stats.get("data") or ())
            extra = dict(entry.get("extra_info") or {})
            found[str(entry["fullname"])] = Speed(median, q1, q3, minimum, int(stats["rounds"]), data, extra)
    return SpeedResults(dict(content["machine_info"].get("cohort") or {}), found)


def to_action(results: SpeedResults) -> list[dict[str, Any]]:
    """The results as github-action-benchmark's tool "customSmallerIsBetter" takes them, to be dumped as JSON.

    A list of {name, unit, value, range, extra}: the value is the median, the unit always ms, so that a chart keeps its scale,
    the range half the interquartile range, and extra all else but the raw times, the cohort too, a line a key.
    """
    entries = []
    for name, speed in results.benchmarks.items():
        rest: dict[str, Any] = {"rounds": speed.rounds, "minimum": speed.minimum, "q1": speed.q1, "q3": speed.q3}
        rest |= {"extra": speed.extra, "cohort": results.cohort}
        entries.append(
            {
                "name": name,
                "unit": "ms",
                "value": 1e3 * speed.median,
                "range": f"± {1e3 * (speed.q3 - speed.q1) / 2:.3g}",
                "extra": json.dumps(rest, indent=0),
            }
        )
    return entries


def write_action(results: Path, out: Path) -> None:
    """Write what `to_action` makes of a file of results.

    Raises:
        UserError: what `read` refuses.
    """
    write_json(out, to_action(read(results)))


# ---------------------------------------------------------------------- verdicts


def compare_speeds(baseline: SpeedResults, current: SpeedResults, effect: float = 0.05) -> list[Row]:
    """Whether each benchmark got slower or faster, from the stored results of two processes.

    The ratio is current median over baseline median. Each median has a distribution-free interval (`Speed.interval`), and the
    ratio's goes from low over high to high over low, which holds with 95 % as far as the noise within a process goes. What two
    processes differ by is added by `judge_stored`, which gives the verdict. For slower and faster two conditions
    are added. The fastest rounds must say the same: a slowdown of the code moves them as well, a neighbour's bursts spare them.
    And both must have had a core for CPU_SHARE of their time. Besides there are

    - ambiguous: too few rounds for an interval.
    - not comparable: a benchmark of the baseline's that has no time now, which would else pass unseen.
    - skipped: one that the baseline does not know.

    An alarm bell, no proof. Proof is `bench compare` of revisions, by pairs in one process.

    Args:
        baseline, current: of one cohort.
        effect: the smallest relative difference that matters, above 0.

    Returns:
        A row of quantity "time" a name: the baseline's in its order, then those that are new.

    Raises:
        NotComparableError: different cohorts.
    """
    if keys := differences(baseline.cohort, current.cohort):
        raise NotComparableError(keys, baseline.cohort, current.cohort)
    names = [*baseline.benchmarks, *(n for n in current.benchmarks if n not in baseline.benchmarks)]
    return [_row(n, baseline.benchmarks.get(n), current.benchmarks.get(n), effect) for n in names]


def _row(name: str, old: Speed | None, new: Speed | None, effect: float) -> Row:
    a, b = ("" if s is None else f"{1e3 * s.median:.3g} ms" for s in (old, new))
    if old is None:
        return Row(name, "time", a, b, "skipped", "not in the baseline; make it again")
    if new is None:
        return Row(name, "time", a, b, "not comparable", "no time now; run the whole suite, or make the baseline again")
    before, after = old.interval(), new.interval()
    ratio, fastest = new.median / old.median, new.minimum / old.minimum
    data: dict[str, Any] = {"a_ms": 1e3 * old.median, "b_ms": 1e3 * new.median, "ratio": ratio, "ratio_fastest": fastest}
    if before is None or after is None:
        return Row(name, "time", a, b, "ambiguous", "too few rounds", data | {"ratio_low": None, "ratio_high": None})
    low, high = after[0] / before[1], after[1] / before[0]
    verdict = judge_stored(math.log(ratio), (math.log(low), math.log(high)), effect)
    share = min(float(s.extra.get("cpu_share", 1.0)) for s in (old, new))
    told = judge_stored(math.log(fastest), (math.log(fastest),) * 2, effect)
    if verdict in ("slower", "faster") and (verdict != told or share < CPU_SHARE):
        verdict = "ambiguous"
    low, high = low / (1 + BETWEEN_PROCESSES), high * (1 + BETWEEN_PROCESSES)
    whole, least, most, best = (100 * (r - 1) for r in (ratio, low, high, fastest))
    note = f"{whole:+.1f} % [{least:+.1f}, {most:+.1f}], fastest round {best:+.1f} %"
    note += f", had a core for {share:.0%} of its time" if share < CPU_SHARE else ""
    return Row(name, "time", a, b, verdict, note, data | {"ratio_low": low, "ratio_high": high})
