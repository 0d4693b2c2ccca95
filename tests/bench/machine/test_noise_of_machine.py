"""What is said of a machine, from clocks that are made up."""

import json
import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import bench.machine.noise
from bench.commands.doctor import rows
from bench.instruments.clock import Clock
from bench.instruments.paired import FEWEST, Paired, Rule, measure
from bench.machine.noise import detectable, drift, governor, gpu_state, matrix_loop, measure_machine, noise, timer
from bench.machine.nvml import REASONS, Nvml
from bench.machine.peak_rates import MATRIX, copy_rate

CPU = torch.device("cpu")


def test_the_timer_s_smallest_step_and_what_a_reading_costs():
    ticks = iter([100, 100, 130, 130, 170, 200])
    assert timer(lambda: next(ticks), 6) == {"resolution_ns": 30, "reading_ns": 20}


def noisy(level: float, sd: float, seed: int = 0, busy: float = 0.0):
    """timed() of a machine whose runs take `level` seconds, with noise; a share `busy` of them takes three times as long."""
    r = random.Random(seed)
    return lambda run: level * math.exp(r.gauss(0, sd)) * (3 if r.random() < busy else 1)


def test_noise_of_a_loop_against_itself():
    found = noise({"loop": lambda: None}, 20, noisy(0.005, 0.01))["loop"]
    assert found["ms"] == pytest.approx(5, rel=1e-2)
    assert found["pairs"] == pytest.approx(20 / 0.01, rel=1e-2)
    assert found["sd"] == pytest.approx(0.01 * math.sqrt(2), rel=0.1)
    assert found["neighbours"] == pytest.approx(0.6745 * 0.01 * math.sqrt(2), rel=0.1)
    assert found["drift"] < 0.01


def test_loops_share_the_time():
    seconds = {"short": 0.001, "long": 0.004}
    loops = {name: (lambda s=s: s) for name, s in seconds.items()}
    noise_of = random.Random(0)
    found = noise(loops, 10, lambda run: run() * math.exp(noise_of.gauss(0, 0.01)))
    assert found["short"]["pairs"] == found["long"]["pairs"] == pytest.approx(1000, rel=2e-2)
    assert {name: round(n["ms"]) for name, n in found.items()} == {"short": 1, "long": 4}


def test_too_short_a_time_says_nothing():
    found = noise({"loop": lambda: None}, 0.0, noisy(1.0, 0.01))["loop"]
    assert found == {"ms": None, "pairs": 0, "sd": None, "neighbours": None, "drift": None, "effect": None}
    found = noise({"loop": lambda: None}, 12.0, noisy(1.0, 0.01))["loop"]
    assert (found["pairs"], found["drift"], found["effect"]) == (3, None, None)


def test_drift_is_how_far_the_level_moves_whatever_single_runs_do():
    steady = np.tile([1.0, 1.0, 5.0], 100)
    assert drift(steady) == 0
    assert drift(steady * np.linspace(1, 1.2, 300)) == pytest.approx(1.19 / 1.01 - 1, abs=0.01)
    assert drift(np.ones(29)) is None


def test_what_is_detectable_is_what_the_formula_says():
    logs = np.linspace(-0.01, 0.01, 101)
    pairs = Paired([0.1] * 101, list(0.1 * np.exp(logs)))
    low, high = pairs.interval()
    per_pair = (sum(pairs.a) + sum(pairs.b)) / 101
    assert math.log1p(detectable(pairs)) / 8 == pytest.approx((high - low) / 2 * math.sqrt(101 / (60 / per_pair)))
    assert detectable(pairs, 240) < detectable(pairs)
    assert detectable(Paired([1.0] * 5, [1.0] * 5)) is None


@pytest.mark.parametrize("busy", [0.0, 0.2])
def test_a_minute_of_pairs_decides_what_is_called_detectable_and_no_less(busy):
    """Bursts or not; the paired clock itself is asked."""
    effect = noise({"loop": lambda: None}, 10, noisy(0.005, 0.02, 1, busy))["loop"]["effect"]

    def minutes(e: float) -> float:
        pairs = measure({"loop": (None, None)}, Rule(e, 1e9), 0, noisy(0.005, 0.02, 2, busy))["loop"]
        return (sum(pairs.a) + sum(pairs.b)) / 60

    assert len(measure({"loop": (None, None)}, Rule(effect, 1e9), 0, noisy(0.005, 0.02, 2, busy))["loop"].a) > FEWEST
    assert minutes(1.5 * effect) < 1 < minutes(effect / 1.5)


def test_matrix_products_fill_the_time_that_a_run_should_take():
    made = []
    real = torch.mm

    def timed(run) -> float:
        made.clear()
        run()
        return 1e-4 * len(made)

    with pytest.MonkeyPatch.context() as m:
        m.setattr(torch, "mm", lambda a, b: made.append(real(a, b)))
        assert timed(matrix_loop(CPU, timed)) == pytest.approx(bench.machine.noise.PRODUCTS)


def test_copied_bytes_count_twice(monkeypatch):
    class Fixed(Clock):
        def stop(self, span):
            return setattr(span, "stop", span.start + 500_000_000)

    monkeypatch.setattr("bench.machine.peak_rates.COPIED", 4096)
    assert copy_rate(CPU, Fixed(CPU), 0) == 2 * 4096 / 0.5


def test_the_governor_is_told_or_unknown(tmp_path):
    assert governor(tmp_path) is None
    for i, name in enumerate(("performance", "powersave", "performance")):
        (tmp_path / f"cpu{i}" / "cpufreq").mkdir(parents=True)
        (tmp_path / f"cpu{i}" / "cpufreq" / "scaling_governor").write_text(name + "\n")
    assert governor(tmp_path) == "performance, powersave"


class FakeNvml:
    """A card that answers what it is told to, and refuses the rest."""

    NVMLError = KeyError
    NVML_CLOCK_SM, NVML_TEMPERATURE_GPU = 1, 0

    def __init__(self, **answers: int):
        self.answers = answers

    def __getattr__(self, name: str):
        return lambda handle, *args: self.answers[name]


def test_a_gpu_s_state_and_why_its_clock_is_limited():
    answers = {
        "nvmlDeviceGetCurrentClocksThrottleReasons": 0x04 | 0x40,
        "nvmlDeviceGetClockInfo": 1200,
        "nvmlDeviceGetMaxClockInfo": 1980,
    }
    state = gpu_state(Nvml(FakeNvml(**answers), None))
    assert state == {
        "sm_mhz": 1200,
        "sm_mhz_maximum": 1980,
        "temperature_c": None,
        "limited": [REASONS[0x04], REASONS[0x40]],
    }
    assert set(gpu_state(Nvml(FakeNvml(), None)).values()) == {None}, "unknown is not zero"


@pytest.fixture
def found(monkeypatch) -> dict:
    """A machine measured in no time, on two threads."""
    for name in ("SECONDS", "CEILING_SECONDS", "PRODUCTS"):
        monkeypatch.setattr(bench.machine.noise, name, 1e-3)
    monkeypatch.setitem(MATRIX, "cpu", 16)
    monkeypatch.setattr("bench.machine.peak_rates.COPIED", 2**16)
    seen = SimpleNamespace()
    real = bench.machine.noise.noise

    def watched(*args):
        seen.threads = torch.get_num_threads()
        return real(*args)

    monkeypatch.setattr(bench.machine.noise, "noise", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        return measure_machine(CPU) | {"threads of the noise": seen.threads, "threads after": torch.get_num_threads()}
    finally:
        torch.set_num_threads(before)


def test_noise_is_measured_on_one_thread_and_the_ceilings_on_all(found):
    assert found["threads of the noise"] == 1
    assert found["threads"] == found["threads after"] == found["cohort"]["threads"] == 2


def test_what_is_found_can_be_kept_and_read(found):
    assert json.loads(json.dumps(found)) == found
    assert found["gpu"] is None
    assert found["matrix_flops_per_s"] > 0
    assert set(found["noise"]) == {"empty loop", "matrix products"}


def test_what_is_unknown_is_told_as_unknown(found):
    told = {what.partition(",")[0]: seen for what, seen, _ in rows(found | {"governor": None, "device": "cuda:0"})}
    assert told["CPU governor"] == "not told"
    assert told["GPU clock"] == "not told; pip install nvidia-ml-py"
    assert told["to be found in a minute"] == "unknown (too few runs)"
    state = {"sm_mhz": 1200, "sm_mhz_maximum": 1980, "temperature_c": None, "limited": []}
    told = {what: seen for what, seen, _ in rows(found | {"device": "cuda:0", "gpu": state})}
    assert told["GPU clock"] == "1200 of 1980 MHz, ? °C, limited by nothing"
