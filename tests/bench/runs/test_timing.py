"""What a cell's times become in its record."""

from types import SimpleNamespace

import numpy as np
import pytest

from bench.instruments.clock import Elapsed
from bench.runs.cells import Cell
from bench.runs.measurement import Measurement
from bench.runs.sweep import BatchSize
from bench.runs.timing import Repetition, peak_bytes, summary
from samplers import UserError

SIZE, PRECISION = 4, 0.02


def repetition(ms: float, batch_s: float, *, gap_ms: float | None = None, dropped: tuple[str, ...] = ()) -> Repetition:
    hosts = (None, None) if gap_ms is None else ((ms + gap_ms) / 1e3, batch_s + gap_ms / 1e3)
    latency, batch = Elapsed(ms / 1e3, hosts[0]), Elapsed(batch_s, hosts[1])
    return Repetition(latency=latency, batch=batch, peak_bytes=int(1e6 * ms), reading={"dropped": list(dropped)})


def measurement() -> Measurement:
    return Measurement(Cell("ddim", 5, SIZE, "fp32", "eager"), SimpleNamespace())  # type: ignore[arg-type]


def told(*timed: Repetition, asked: float | None = PRECISION, watch=None) -> dict:
    return summary(timed, SIZE, asked, watch)


def test_a_gpu_s_record_has_both_clocks_and_the_gap_between_them():
    time = told(*(repetition(m, 0.5, gap_ms=0.25) for m in (3.0, 1.0, 2.0)))
    assert time["latency_ms"]["median"] == pytest.approx(2)
    assert time["host_latency_ms"]["median"] == pytest.approx(2.25)
    assert time["launch_gap_ms"]["median"] == pytest.approx(0.25)
    assert time["images_per_s"]["median"] == pytest.approx(8)
    assert time["raw"]["latency_ms"] == [3, 1, 2]
    assert time["raw"]["host_latency_ms"] == [3.25, 1.25, 2.25]
    assert time["raw"]["host_batch_s"] == [0.50025] * 3
    assert time["conditions"] is None


def test_the_precision_reached_is_the_worse_of_latency_and_throughput():
    latencies, batches = (9.9, 10, 10, 10, 10, 10.1), (0.9, 1.0, 1.0, 1.0, 1.0, 1.1)
    time = told(*(repetition(m, b) for m, b in zip(latencies, batches, strict=True)))
    assert (time["precision_asked"], time["precision_reached"]) == (0.02, pytest.approx(0.1))
    few = told(*(repetition(m, 1.0) for m in latencies[:5]))
    assert few["precision_reached"] is None, "five values have no interval"
    assert told(*(repetition(m, 1.0) for m in latencies), asked=None)["precision_reached"] is None


def test_dropped_repetitions_stay_in_the_raw_values_and_nowhere_else():
    mixed = [repetition(1, 0.5), repetition(9, 5.0, dropped=("heat",)), repetition(3, 0.5)]
    time = told(*mixed)
    assert (time["latency_ms"]["n"], time["latency_ms"]["median"], time["images_per_s"]["p90"]) == (2, 2, 8)
    assert time["raw"]["latency_ms"] == [1, 9, 3]
    assert time["raw"]["dropped"] == {"1": ["heat"]}
    assert peak_bytes(mixed) == 9e6, "memory does not depend on the clocks"
    assert told(repetition(1, 0.5, dropped=("heat",)))["latency_ms"]["n"] == 1


def test_repetitions_and_each_point_of_the_sweep_have_conditions_of_their_own():
    watch = SimpleNamespace(verdict=lambda readings: [r["dropped"] for r in readings])
    time = told(repetition(1, 0.5), repetition(2, 0.5, dropped=("heat",)), watch=watch)
    assert time["conditions"] == [[], ["heat"]]
    point = BatchSize(batch_size=1, seconds=[0.1], readings=[{"dropped": ["power"]}])
    assert point.record(watch)["conditions"] == [["power"]]  # type: ignore[arg-type]


def test_a_repetition_comes_back_from_json():
    one = repetition(1.5, 0.25, gap_ms=0.5, dropped=("heat",))
    assert Repetition.model_validate_json(one.model_dump_json()) == one
    assert one.seconds == pytest.approx(0.002 + 0.2505), "as the host saw it"
    assert repetition(1.5, 0.25).seconds == pytest.approx(0.2515)


def test_a_sampler_s_failure_is_the_cell_s_and_the_user_s_is_not():
    cell, tried = measurement(), []

    def fail(_: Measurement) -> None:
        tried.append(1)
        raise ValueError("two\n lines")

    cell.attempt(fail)
    cell.attempt(fail)
    assert (cell.error, len(tried)) == ("ValueError: two lines", 1)

    def full(_: Measurement) -> None:
        raise UserError("disk full")

    with pytest.raises(UserError):
        measurement().attempt(full)


def test_raw_values_are_enough_to_make_the_medians_again():
    time = told(*(repetition(m, m / 7) for m in (1.0, 2.0, 4.0)))
    assert np.median(time["raw"]["latency_ms"]) == time["latency_ms"]["median"]
