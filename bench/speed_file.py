"""Speed results on disk: pytest-benchmark's own JSON, and the list that github-action-benchmark keeps.

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

from scipy.stats import binom

from bench.cohort import differences, digest
from samplers.errors import UserError

PROCESSES = 0.09
"""What two processes that run the same code can differ by, as a ratio less 1 (measured; the median is 2 to 3 %)."""
CONFIDENCE = 0.975
"""Of each of two medians' intervals, so that their ratio's has 95 %."""
REMAKE = "make it with 'pytest tests/speed --benchmark-only --benchmark-json FILE'"


@dataclass(frozen=True)
class Speed:
    """The times of one benchmark, in seconds a call.

    Attributes:
        median, q1, q3, minimum: of the rounds; q1 and q3 are the quartiles.
        rounds: how many there were.
        data: each round's time, in the order they came; empty where the file does not keep them.
        extra: what the benchmark says of itself: calls, forwards, batch, ...
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

    @property
    def iqr(self) -> float:
        """The interquartile range."""
        return self.q3 - self.q1

    def interval(self) -> tuple[float, float] | None:
        """Where the true median lies with at least 97.5 % confidence, whatever the distribution; None for too few rounds.

        Two order statistics of binomial coverage: the narrowest pair where each round's time is there (from 7 rounds on), the
        quartiles where only they are (from 24 rounds on).
        """
        n = len(self.data) or self.rounds
        if not self.data:
            inside = (n + 1) // 4  # pytest-benchmark's quartiles are nowhere further in than this order statistic
            return (self.q1, self.q3) if 2 * binom.cdf(inside, n, 0.5) <= 1 - CONFIDENCE else None
        low = int(binom.ppf((1 - CONFIDENCE) / 2, n, 0.5)) - 1  # P(median < x[low]) = P(Bin(n, 1/2) <= low) < 1.25 %
        x = sorted(self.data)
        return (x[low], x[n - 1 - low]) if low >= 0 else None


@dataclass(frozen=True)
class SpeedResults:
    """What one run of the suite measured: on which cohort (see `bench.cohort`), and each benchmark's times by its full name."""

    cohort: dict[str, Any]
    benchmarks: dict[str, Speed]


@dataclass(frozen=True)
class Row:
    """A benchmark's verdict: current over baseline, with an interval (None where there is none), and what it means."""

    name: str
    ratio: float
    low: float | None
    high: float | None
    verdict: str


class NotComparableError(UserError):
    """Two results of different cohorts; `keys` are those in which they differ."""

    def __init__(self, keys: Sequence[str], baseline: dict[str, Any], current: dict[str, Any]):
        self.keys = list(keys)
        told = "; ".join(f"{k} was {baseline.get(k)}, now {current.get(k)}" for k in keys)
        super().__init__(f"not comparable: {told}. Make a baseline on this kind of machine")


# ---------------------------------------------------------------------- files


def read(path: Path) -> SpeedResults:
    """The results in a file, pytest-benchmark's (`--benchmark-json`, `--benchmark-save`) or `to_action`'s.

    A benchmark without a time is left out, so that `missing` tells of it.

    Raises:
        UserError: no such file, not JSON, another schema, no cohort, or not one benchmark with a time.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as e:
        raise UserError(f"no speed results at {path} ({e.strerror}); {REMAKE}") from e
    except ValueError as e:
        raise UserError(f"{path} is not JSON ({' '.join(str(e).split())}); {REMAKE}") from e
    try:
        results = from_action(content) if isinstance(content, list) else _from_pytest(content)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise UserError(f"{path} is neither pytest-benchmark's JSON nor a list that to_action made; {REMAKE}") from e
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
            times = [float(stats[k]) for k in ("median", "q1", "q3", "min")]
            data = tuple(float(v) for v in stats.get("data") or ())
            extra = dict(entry.get("extra_info") or {})
            found[str(entry["fullname"])] = Speed(*times, rounds=int(stats["rounds"]), data=data, extra=extra)
    return SpeedResults(dict(content["machine_info"].get("cohort") or {}), found)


def to_action(results: SpeedResults) -> list[dict[str, Any]]:
    """The results as github-action-benchmark's tool "customSmallerIsBetter" takes them, to be dumped as JSON.

    A list of {name, unit, value, range, extra}: the value is the median, the unit always ms, so that a chart keeps its scale,
    the range half the interquartile range, and extra all else but the raw times, the cohort too: JSON again, a line a key, for
    `from_action` as well as for the reader of a chart.
    """
    entries = []
    for name, speed in results.benchmarks.items():
        rest = {"rounds": speed.rounds, "minimum": speed.minimum, "q1": speed.q1, "q3": speed.q3}
        rest |= {"extra": speed.extra, "cohort": {"id": digest(results.cohort), **results.cohort}}
        entries.append(
            {
                "name": name,
                "unit": "ms",
                "value": 1e3 * speed.median,
                "range": f"± {1e3 * speed.iqr / 2:.3g}",
                "extra": json.dumps(rest, indent=0),
            }
        )
    return entries


def from_action(entries: Sequence[dict[str, Any]]) -> SpeedResults:
    """What `to_action` made into results again, without the raw times.

    Raises:
        KeyError, TypeError, ValueError: entries that it did not make, or of several cohorts.
    """
    found, cohort = {}, {}  # type: dict[str, Speed], dict[str, Any]
    for entry in entries:
        rest = json.loads(entry["extra"])
        own = rest["cohort"]
        own.pop("id")
        if entry["unit"] != "ms" or (cohort and own != cohort):
            raise ValueError("entries of several cohorts or another unit")
        cohort = own
        times = [entry["value"] / 1e3, *(rest[k] for k in ("q1", "q3", "minimum"))]
        found[str(entry["name"])] = Speed(*times, rounds=rest["rounds"], extra=rest["extra"])
    return SpeedResults(cohort, found)


# ---------------------------------------------------------------------- verdicts


def missing(baseline: SpeedResults, current: SpeedResults) -> list[str]:
    """Names of the baseline that `current` has no time of, sorted. The other way round, it tells what the baseline lacks."""
    return sorted(baseline.benchmarks.keys() - current.benchmarks.keys())


def judge(baseline: SpeedResults, current: SpeedResults, effect: float = 0.05) -> list[Row]:
    """Whether each benchmark got slower or faster, from the stored results of two processes: a row a name of the baseline's.

    The ratio is current median over baseline median. Its interval is made in two steps. First the rounds: each median has a
    distribution-free interval (`Speed.interval`), and the ratio's goes from low over high to high over low, which holds with
    95 %. It knows only the noise within a process, but two processes of the same code differ by up to 9 % (memory layout,
    clock, neighbours), so it is then widened by that factor at either end. The verdict:

    - "slower", "faster": the whole widened interval is beyond 1 + effect, or below 1 / (1 + effect). So with the default effect
      of 5 % a slowdown counts from about 15 % on.
    - "same": the rounds' own interval lies within these bounds, so that nothing beyond about 15 % is hidden.
    - "ambiguous": neither, or too few rounds for an interval. Only both revisions in one process, in pairs, can tell.

    Args:
        baseline, current: of one cohort.
        effect: the smallest relative difference that matters, above 0.

    Raises:
        NotComparableError: different cohorts.
        UserError: the current results lack a benchmark of the baseline's, which would else pass unseen.
    """
    if keys := differences(baseline.cohort, current.cohort):
        raise NotComparableError(keys, baseline.cohort, current.cohort)
    if lacking := missing(baseline, current):
        raise UserError(f"no time of {', '.join(lacking)}; run the whole suite, or make the baseline again if they are gone")
    return [_row(name, old, current.benchmarks[name], effect) for name, old in baseline.benchmarks.items()]


def _row(name: str, old: Speed, new: Speed, effect: float) -> Row:
    ratio, before, after = new.median / old.median, old.interval(), new.interval()
    if before is None or after is None:
        return Row(name, ratio, None, None, "ambiguous")
    inner = after[0] / before[1], after[1] / before[0]
    low, high = inner[0] / (1 + PROCESSES), inner[1] * (1 + PROCESSES)
    if low > 1 + effect:
        verdict = "slower"
    elif high < 1 / (1 + effect):
        verdict = "faster"
    else:
        verdict = "same" if 1 / (1 + effect) <= inner[0] and inner[1] <= 1 + effect else "ambiguous"
    return Row(name, ratio, low, high, verdict)
