"""What a cell's times become in its record."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

from bench.instruments.clock import Elapsed
from bench.runs.cells import Cell
from bench.runs.measurement import Job, Repetition
from bench.runs.plan import Plan
from bench.runs.sweep import Point
from samplers import UserError

PLAN = Plan(samplers=("ddim",), batch_size=4, sweep=(1, 4), time_precision=0.02)


def repetition(ms: float, batch_s: float, *, gap_ms: float | None = None, dropped: tuple[str, ...] = ()) -> Repetition:
    hosts = (None, None) if gap_ms is None else ((ms + gap_ms) / 1e3, batch_s + gap_ms / 1e3)
    return Repetition(
        Elapsed(ms / 1e3, hosts[0]), Elapsed(batch_s, hosts[1]), 0.1 * ms, int(1e6 * ms), {"dropped": list(dropped)}
    )


def job(*timed: Repetition) -> Job:
    made = Job(Cell("ddim", 5, 4, "fp32", "eager"), SimpleNamespace())  # type: ignore[arg-type]
    made.timed = list(timed)
    return made


def test_a_gpu_s_record_has_both_clocks_and_the_gap_between_them():
    time = job(*(repetition(m, 0.5, gap_ms=0.25) for m in (3.0, 1.0, 2.0))).time("cuda_events", PLAN, None)
    assert time["clock"] == "cuda_events"
    assert time["latency_ms"]["median"] == pytest.approx(2)
    assert time["host_latency_ms"]["median"] == pytest.approx(2.25)
    assert time["launch_gap_ms"]["median"] == pytest.approx(0.25)
    assert time["images_per_s"]["median"] == pytest.approx(8)
    assert time["overhead_fraction"] == pytest.approx(0.2)
    assert time["raw"]["latency_ms"] == [3, 1, 2]
    assert time["raw"]["host_latency_ms"] == [3.25, 1.25, 2.25]
    assert time["raw"]["host_batch_s"] == [0.50025] * 3
    assert time["conditions"] is None


def test_the_precision_reached_is_the_worse_of_latency_and_throughput():
    latencies, batches = (9.9, 10, 10, 10, 10, 10.1), (0.9, 1.0, 1.0, 1.0, 1.0, 1.1)
    time = job(*(repetition(m, b) for m, b in zip(latencies, batches, strict=True))).time("perf_counter", PLAN, None)
    assert (time["precision_asked"], time["precision_reached"]) == (0.02, pytest.approx(0.1))
    few = job(*(repetition(m, 1.0) for m in latencies[:5])).time("perf_counter", PLAN, None)
    assert few["precision_reached"] is None, "five values have no interval"
    exact = PLAN.model_copy(update={"time_precision": None})
    assert job(*(repetition(m, 1.0) for m in latencies)).time("perf_counter", exact, None)["precision_reached"] is None


def test_dropped_repetitions_stay_in_the_raw_values_and_nowhere_else():
    mixed = job(repetition(1, 0.5), repetition(9, 5.0, dropped=("heat",)), repetition(3, 0.5))
    time = mixed.time("perf_counter", PLAN, None)
    assert (time["latency_ms"]["n"], time["latency_ms"]["median"], time["images_per_s"]["p90"]) == (2, 2, 8)
    assert time["raw"]["latency_ms"] == [1, 9, 3]
    assert time["raw"]["dropped"] == {"1": ["heat"]}
    assert mixed.series() == [[0.001, 0.003], [0.5, 0.5]]
    assert mixed.peak_bytes == 9e6, "memory does not depend on the clocks"
    assert len(job(repetition(1, 0.5, dropped=("heat",))).kept) == 1


def test_repetitions_and_each_point_of_the_sweep_have_conditions_of_their_own():
    watch = SimpleNamespace(verdict=lambda readings: [r["dropped"] for r in readings])
    cell = job(repetition(1, 0.5), repetition(2, 0.5, dropped=("heat",)))
    cell.sweep = [Point(1, [0.1], [{"dropped": ["power"]}]), Point(4, error="out of memory")]
    time = cell.time("perf_counter", PLAN, watch)  # type: ignore[arg-type]
    assert time["conditions"] == [[], ["heat"]]
    assert [(p["batch_size"], p["conditions"]) for p in time["sweep"]] == [(1, [["power"]])]
    assert time["sweep_stopped"] == "out of memory at batch 4"


def test_a_repetition_comes_back_from_json():
    one = repetition(1.5, 0.25, gap_ms=0.5, dropped=("heat",))
    assert Repetition.from_dict(json.loads(json.dumps(dataclasses.asdict(one)))) == one
    assert one.seconds == pytest.approx(0.002 + 0.2505), "as the host saw it"
    assert repetition(1.5, 0.25).seconds == pytest.approx(0.2515)


def test_a_sampler_s_failure_is_the_job_s_and_the_user_s_is_not():
    cell, tried = job(), []

    def fail(_: Job) -> None:
        tried.append(1)
        raise ValueError("two\n lines")

    cell.attempt(fail)
    cell.attempt(fail)
    assert (cell.error, len(tried)) == ("ValueError: two lines", 1)

    def full(_: Job) -> None:
        raise UserError("disk full")

    with pytest.raises(UserError):
        job().attempt(full)


def test_raw_values_are_enough_to_make_the_medians_again():
    time = job(*(repetition(m, m / 7) for m in (1.0, 2.0, 4.0))).time("perf_counter", PLAN, None)
    assert np.median(time["raw"]["latency_ms"]) == time["latency_ms"]["median"]
