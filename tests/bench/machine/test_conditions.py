from types import SimpleNamespace

import pytest
import torch

from bench.machine.conditions import CpuWatch, GpuWatch, watch
from bench.machine.nvml import Nvml

# ------------------------------------------------------------------ CPU


class Machine:
    """Four cores, of which this process may use 0 to 2."""

    def __init__(self, threads: int = 2):
        self.now, self.own = 0.0, 0.0
        self.busy, self.stolen = [0.0] * 4, 0.0
        self.watch = CpuWatch(threads, cores={0, 1, 2}, times=self.times, own=lambda: self.own, now=lambda: self.now)

    def times(self) -> list[SimpleNamespace]:
        """Of each core, as Linux tells them; idle and iowait are no work."""
        rest = {"system": 0.0, "idle": 9.0, "iowait": 9.0, "irq": 0.0, "softirq": 0.0, "steal": self.stolen}
        return [SimpleNamespace(user=0.6 * b, nice=0.4 * b, **rest) for b in self.busy]

    def reading(self, seconds: float, own: float, others: float, stolen: float = 0.0, elsewhere: float = 0.0) -> dict:
        """A repetition in which the cores 0 and 1 do all the work, and core 3, which is not ours, does some too."""
        before = self.watch.look()
        self.now, self.own = self.now + seconds, self.own + own
        self.busy[0] += own
        self.busy[1] += others
        self.busy[3] += elsewhere
        self.stolen += stolen / 3  # of each core
        return self.watch.between(before, self.watch.look())


def test_a_quiet_cpu_is_valid():
    machine = Machine()
    found = machine.watch.verdict([machine.reading(1, own=2, others=0.1, elsewhere=1) for _ in range(3)])
    assert found == {
        "valid": True, "reasons": [], "dropped": 0, "seconds": 3, "other_cores": pytest.approx(0.1), "stolen_cores": 0,
    }  # fmt: skip


def test_others_may_use_the_cores_that_are_left_but_no_more():
    machine = Machine()
    assert machine.watch.verdict([machine.reading(1, own=2, others=1.15)])["valid"]
    bad = machine.watch.verdict([machine.reading(1, own=1.7, others=1.3)])
    assert bad["valid"] is False
    assert bad["reasons"] == ["other processes used 1.30 of 3 cores, 0.00 were stolen, beside 2 threads of this one"]
    assert machine.reading(1, own=1.7, others=1.3)["dropped"] == [], "ticks are too coarse for one repetition"


def test_what_a_hypervisor_steals_is_missing():
    machine = Machine(threads=1)
    assert machine.watch.verdict([machine.reading(1, own=1, others=0, stolen=0.06)])["valid"]
    bad = machine.watch.verdict([machine.reading(1, own=0.8, others=0, stolen=0.3)])
    assert bad["valid"] is False
    assert "0.30 were stolen, beside 1 thread of this one" in bad["reasons"][0]


def test_too_little_work_and_counters_that_stand_still_tell_nothing():
    machine = Machine()
    for reading in (machine.reading(0.4, own=0.4, others=2), machine.reading(1, own=2, others=-2)):
        found = machine.watch.verdict([reading])
        assert (found["valid"], found["other_cores"], found["reasons"]) == (None, None, [])


# ------------------------------------------------------------------ GPU

IDLE, POWER_CAP, HEAT = 0x01, 0x04, 0x40


class NvmlError(Exception):
    """What the library raises."""


class Card:
    """A GPU whose state is set by hand; what is None is not supported."""

    def __init__(self, maximum: int | None = 2000):
        self.bits, self.mhz, self.celsius, self.processes = 0, 1950, 60, 1

        def tell(value):
            if value is None:
                raise NvmlError
            return value

        self.nvml = Nvml(
            SimpleNamespace(
                NVMLError=NvmlError,
                NVML_CLOCK_SM="sm",
                NVML_TEMPERATURE_GPU="gpu",
                nvmlDeviceGetMaxClockInfo=lambda handle, kind: tell(maximum if kind == "sm" else None),
                nvmlDeviceGetClockInfo=lambda handle, kind: tell(self.mhz if kind == "sm" else None),
                nvmlDeviceGetCurrentClocksThrottleReasons=lambda handle: tell(self.bits),
                nvmlDeviceGetTemperature=lambda handle, kind: tell(self.celsius if kind == "gpu" else None),
                nvmlDeviceGetComputeRunningProcesses=lambda handle: [None] * tell(self.processes),
            ),
            "the card",
        )
        self.watch = GpuWatch(self.nvml)

    def look(self, **state) -> dict:
        for key, value in ({"bits": 0, "mhz": 1950, "celsius": 60, "processes": 1} | state).items():
            setattr(self, key, value)
        return self.watch.look()


def reading(before: dict | None = None, after: dict | None = None) -> dict:
    card = Card()
    return card.watch.between(card.look(**(before or {})), card.look(**(after or {})))


@pytest.mark.parametrize(
    ("state", "reasons"),
    [
        ({}, []),
        ({"bits": HEAT}, ["heat (hardware)"]),
        ({"bits": 0x08 | 0x20 | 0x80}, ["hardware slowdown", "heat (software)", "power brake"]),
        ({"bits": POWER_CAP}, []),  # the steady state of heavy work
        ({"bits": POWER_CAP, "mhz": 1499}, ["SM clock under 75% of its maximum"]),
        ({"mhz": 1500}, []),
        ({"mhz": 300, "bits": IDLE}, []),  # the next kernel raises it
        ({"mhz": None, "celsius": None, "processes": None, "bits": None}, []),
        ({"processes": 2}, ["another process on the GPU"]),
        ({"processes": 0}, []),  # a container does not show ours
    ],
)
def test_a_repetition_is_dropped_for_what_was_seen_before_or_after_it(state: dict, reasons: list[str]):
    assert reading(before=state)["dropped"] == reasons
    assert reading(after=state)["dropped"] == reasons


def test_a_reading_tells_the_worse_of_two_looks():
    found = reading({"mhz": 1900, "celsius": 61, "bits": POWER_CAP}, {"mhz": 1800, "celsius": 70, "processes": 3})
    assert {k: found[k] for k in ("sm_mhz", "temperature_c", "other_processes", "power_capped")} == {
        "sm_mhz": 1800, "temperature_c": 70, "other_processes": 2, "power_capped": True,
    }  # fmt: skip


def test_more_than_a_tenth_dropped_makes_a_row_invalid():
    good, hot = reading(), reading({"bits": HEAT, "celsius": 90})
    card = Card()
    assert card.watch.verdict([good] * 10) == {
        "valid": True, "reasons": [], "dropped": 0, "sm_mhz": 1950, "sm_mhz_maximum": 2000, "temperature_c": 60,
        "other_processes": 0, "power_capped": 0,
    }  # fmt: skip
    one = card.watch.verdict([good] * 9 + [hot])
    assert (one["valid"], one["dropped"], one["temperature_c"]) == (True, 1, 90)
    two = card.watch.verdict([good] * 8 + [hot] * 2)
    assert two["valid"] is False
    assert two["reasons"] == ["2 of 10 repetitions dropped: heat (hardware)"]


def test_a_card_that_tells_nothing_of_its_clock_drops_nothing_for_it():
    card = Card(maximum=None)
    assert card.watch.between(card.look(mhz=100), card.look(mhz=100))["dropped"] == []


def test_a_card_that_does_not_tell_why_its_clock_is_low_is_not_called_undisturbed():
    card = Card()
    silent = card.watch.between(card.look(bits=None), card.look(bits=None))
    assert card.watch.verdict([silent] * 10)["valid"] is None
    assert card.watch.verdict([silent] * 9 + [reading()])["valid"] is True
    assert reading({"processes": 0}, {"processes": 0})["other_processes"] is None


def test_who_watches(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bench.machine.conditions.nvml", lambda device: None)
    assert watch(torch.device("cuda"), 1) is None
    monkeypatch.setattr("bench.machine.conditions.nvml", lambda device: Card().nvml)
    assert isinstance(watch(torch.device("cuda"), 1), GpuWatch)
    monkeypatch.setattr("bench.machine.conditions.own_cores", lambda: [0, 4711])  # some that are switched off
    assert watch(torch.device("cpu"), 1) is None
