import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from run_folders import only, records

import bench
import bench.runs.run
import samplers.registry
from bench.machine.conditions import GpuWatch
from bench.machine.energy import CpuEnergy, energy_of
from bench.records.caveats import caveats
from bench.records.store import read_records
from bench.runs.executor import Executor
from samplers import Card, Sampler
from samplers.time_limit import TimeUpError, time_limit


def test_what_a_cpu_does_not_tell_is_null_and_warm_up_is_told(one: dict, tmp_path: Path):
    bench.run(out=tmp_path / "run", quiet=True, **one)
    time = only(tmp_path / "run")["time"]
    for key in ("host_latency_ms", "launch_gap_ms", "precision_asked", "precision_reached", "sweep", "cold_start_s"):
        assert time[key] is None
    assert time["sweep_stopped"] is None
    assert 1 <= time["warm_up"]["repetitions"] <= 20
    assert "dropped" not in time["raw"]


class Asking(Sampler):
    """Looks at a value of its tensor in each step, and once more at the end."""

    card = Card("asking", "asking", "none", None, True, lambda n: n)

    def sample(self, denoiser, noise, *, steps, labels=None, callback=None):
        x = noise
        for _ in range(steps):
            x = denoiser(x, 1.0 + abs(float(x[0, 0, 0, 0])), labels)
        return x if x.isfinite().all() else noise


def test_what_the_host_waits_for_is_counted_in_the_record(one: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    load = samplers.registry.load
    monkeypatch.setattr(samplers.registry, "load", lambda name: Asking if name == "asking" else load(name))
    bench.run(out=tmp_path / "run", quiet=True, **one | {"samplers": ("asking", "ddim")})
    assert {r["sampler"]: r["counted"]["synchronisations"] for r in records(tmp_path / "run")} == {"asking": 4, "ddim": 0}


def test_a_precision_out_of_reach_goes_on_to_the_end_of_the_budget(one: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bench.instruments.statistics.FLOOR", 0.0)
    bench.run(out=tmp_path / "run", quiet=True, time_precision=1e-9, time_budget=0.2, **one)
    time = only(tmp_path / "run")["time"]
    spent = np.cumsum(np.array(time["raw"]["latency_ms"]) / 1e3 + time["raw"]["batch_s"])
    assert spent[-1] >= 0.2 - 1e-4 * len(spent)  # raw values are rounded
    assert len(spent) == 3 or spent[-2] < 0.2 + 1e-4 * len(spent)
    assert time["latency_ms"]["n"] == len(spent)
    assert time["precision_asked"] == 1e-9
    assert time["precision_reached"] is None or time["precision_reached"] > 1e-9
    (line,) = [x for x in caveats(read_records(tmp_path / "run" / "records.jsonl")) if x.startswith("precision")]
    assert "1 of 1 cells did not reach the one asked for within their budget (ddim_n3_b16_fp32_eager: " in line


class Watched(GpuWatch):
    """A card that is hot at these repetitions."""

    def __init__(self, hot: set[int]):
        self._nominal, self._hot, self._seen = 2000, hot, 0

    def look(self) -> dict:
        return {}

    def between(self, before: dict, after: dict) -> dict:
        self._seen += 1
        reasons = ["heat"] if self._seen - 1 in self._hot else []
        return {
            "dropped": reasons,
            "sm_mhz": 1900,
            "temperature_c": 70,
            "other_processes": 0,
            "power_capped": False,
            "told": True,
        }


@pytest.mark.parametrize(
    ("hot", "kept", "valid"), [(set(), 10, True), ({3}, 9, True), ({3, 5}, 8, False), (set(range(10)), 10, False)]
)
def test_disturbed_repetitions_are_dropped_and_too_many_make_the_row_invalid(
    one: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hot: set[int], kept: int, valid: bool
):
    monkeypatch.setattr("bench.runs.session.watch", lambda *_: Watched(hot))
    bench.run(out=tmp_path / "run", quiet=True, **one | {"repetitions": 10})
    time = only(tmp_path / "run")["time"]
    assert time["latency_ms"]["n"] == time["images_per_s"]["n"] == kept
    assert time["conditions"]["valid"] == valid
    assert time["conditions"]["dropped"] == len(hot)
    assert len(time["raw"]["latency_ms"]) == 10
    assert time["raw"].get("dropped", {}) == {str(i): ["heat"] for i in sorted(hot)}
    values = [v for i, v in enumerate(time["raw"]["latency_ms"]) if i not in hot or kept == 10]
    assert time["latency_ms"]["median"] == pytest.approx(np.median(values), abs=1e-4)


class Hungry(Sampler):
    """Has no memory for five images."""

    card = Card("hungry", "hungry", "none", None, True, lambda n: 1)

    def sample(self, denoiser, noise, *, steps, labels=None, callback=None):
        if len(noise) == 5:
            raise torch.OutOfMemoryError("Tried to allocate 2 GiB")
        return denoiser(noise, 1.0, labels)


@pytest.fixture
def hungry(monkeypatch: pytest.MonkeyPatch) -> None:
    load = samplers.registry.load
    monkeypatch.setattr(samplers.registry, "load", lambda name: Hungry if name == "hungry" else load(name))
    monkeypatch.setattr("bench.runs.sweep.GROWTH", 0.0)  # whatever the machine does, every size grows


@pytest.mark.usefixtures("hungry")
def test_a_sweep_ends_with_memory_and_the_others_go_on(one: dict, tmp_path: Path):
    bench.run(out=tmp_path / "run", quiet=True, sweep=(1, 2, 5, 6), **one | {"samplers": ("hungry", "ddim"), "calls": (1,)})
    found = {r["sampler"]: r for r in records(tmp_path / "run")}
    assert {r["status"] for r in found.values()} == {"ok"}
    sizes = {s: [p["batch_size"] for p in r["time"]["sweep"]] for s, r in found.items()}
    assert sizes == {"hungry": [1, 2], "ddim": [1, 2, 5, 6]}
    assert found["hungry"]["time"]["sweep_stopped"] == "out of memory at batch 5"
    assert found["ddim"]["time"]["sweep_stopped"] == "every size was measured"
    assert all(p["images_per_s"]["n"] == 3 for r in found.values() for p in r["time"]["sweep"])


def test_a_sweep_goes_on_only_while_throughput_grows(one: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bench.runs.sweep.GROWTH", 1e9)
    bench.run(out=tmp_path / "run", quiet=True, sweep=(1, 2, 5), **one)
    time = only(tmp_path / "run")["time"]
    assert [p["batch_size"] for p in time["sweep"]] == [1, 2]
    assert time["sweep_stopped"].startswith("throughput grew by less than")


def test_an_interrupted_sweep_keeps_its_points(one: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bench.runs.sweep.GROWTH", 0.0)
    own = Executor.sample

    def interrupted(self, m, indices):
        if len(indices) == 5:
            raise KeyboardInterrupt
        return own(self, m, indices)

    monkeypatch.setattr(Executor, "sample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench.run(out=tmp_path / "run", quiet=True, sweep=(1, 2, 5), **one)
    (lines,) = (tmp_path / "run").glob("partial/*/sweep.jsonl")
    kept = [json.loads(line.partition(" ")[2]) for line in lines.read_text().splitlines()]
    monkeypatch.setattr(Executor, "sample", own)
    bench.run(out=tmp_path / "run", quiet=True, sweep=(1, 2, 5), **one)
    sweep = only(tmp_path / "run")["time"]["sweep"]
    assert [p["batch_size"] for p in kept] == [1, 2]
    assert [p["batch_size"] for p in sweep] == [1, 2, 5]
    for point, stored in zip(sweep, kept, strict=False):
        assert point["images_per_s"]["median"] == pytest.approx(point["batch_size"] / np.median(stored["seconds"]))


def test_energy_is_recorded_where_it_can_be_read(one: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Counter(CpuEnergy):
        name = "fake"

        def __init__(self):
            self.joules_so_far = 0

        def read(self) -> list[int]:
            self.joules_so_far += 48
            return [self.joules_so_far]

        def joules(self, before: list[int], after: list[int]) -> float:
            return after[0] - before[0]

    monkeypatch.setattr("bench.runs.energy.energy_counter", lambda device: Counter())
    monkeypatch.setattr("bench.runs.energy.energy_of", lambda run, n, counter: energy_of(run, n, counter, seconds=0.0))
    with time_limit(0):  # a round, or one cell's energy, in each call
        for _ in range(10):
            if not list((tmp_path / "a").glob("partial/*/energy.jsonl")):
                with contextlib.suppress(TimeUpError):
                    bench.run(out=tmp_path / "a", quiet=True, **one)
    monkeypatch.setattr("bench.runs.energy.energy_of", lambda *_: pytest.fail("measured again"))
    bench.run(out=tmp_path / "a", quiet=True, **one)
    monkeypatch.setattr("bench.runs.energy.energy_counter", lambda device: None)
    bench.run(out=tmp_path / "b", quiet=True, **one)
    energy = only(tmp_path / "a")["energy"]
    assert (energy["joules_per_image"], energy["images"], energy["counter"]) == (3.0, 16, "fake")
    assert only(tmp_path / "b")["energy"] is None


def test_a_cold_start_is_measured_once_and_only_if_asked(one: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found, asked = {"load": 2.0, "compile": None, "first_image": 0.5, "total": 2.5}, []

    def measure(plan, cell, device, threads):
        asked.append((cell.id, device, threads))
        return found

    monkeypatch.setattr("bench.runs.cold_start.cold_start", measure)
    own = Executor.sample

    def interrupted(self, m, indices):
        raise KeyboardInterrupt

    monkeypatch.setattr(Executor, "sample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench.run(out=tmp_path / "run", quiet=True, cold_start=True, **one)
    monkeypatch.setattr(Executor, "sample", own)
    frame = bench.run(out=tmp_path / "run", quiet=True, cold_start=True, **one)
    assert only(tmp_path / "run")["time"]["cold_start_s"] == found
    assert asked == [("ddim_n3_b16_fp32_eager", "cpu", 1)]
    assert frame["time.cold_start_s.total"].tolist() == [2.5]


def test_an_interrupted_run_s_record_tells_of_the_first_warm_up(one: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told = iter([{"repetitions": 1}, {"repetitions": 2}, {"repetitions": 3}, {"repetitions": 4}])
    monkeypatch.setattr("bench.runs.timing.warm_up", lambda once: next(told))
    for _ in range(20):
        with contextlib.suppress(TimeUpError), time_limit(0):
            bench.run(out=tmp_path / "cut", quiet=True, **one)
            break
    assert only(tmp_path / "cut")["time"]["warm_up"] == {"repetitions": 1}
