from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bench.machine.energy import CpuEnergy, GpuEnergy, energy_counter, energy_of


def zone(root: Path, zone: str, name: str, microjoules: int, top: int = 10**6) -> Path:
    folder = root / zone
    folder.mkdir()
    for key, value in (("name", name), ("energy_uj", microjoules), ("max_energy_range_uj", top)):
        (folder / key).write_text(f"{value}\n")
    return folder


def test_cpu_packages_are_added_and_their_parts_are_not(tmp_path: Path):
    zones = [zone(tmp_path, f"intel-rapl:{i}", f"package-{i}", 1000 * i) for i in range(2)]
    zone(tmp_path, "intel-rapl:0:0", "core", 500)
    zone(tmp_path, "intel-rapl:2", "psys", 500)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 500)
    counter = CpuEnergy(tmp_path)
    before = counter.read()
    assert before == [0, 1000]
    (zones[0] / "energy_uj").write_text("300\n")
    (zones[1] / "energy_uj").write_text("400\n")  # began again at 10^6
    after = counter.read()
    assert after is not None
    assert counter.joules(before, after) == pytest.approx((300 + 10**6 - 600) * 1e-6)


def test_what_cannot_be_read_is_absent_and_not_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert CpuEnergy(tmp_path).read() is None
    zone(tmp_path, "intel-rapl:0", "package-0", 5)
    assert CpuEnergy(tmp_path).read() == [5]
    monkeypatch.setattr(CpuEnergy, "read", lambda self: None)
    assert energy_counter(torch.device("cpu")) is None
    monkeypatch.setattr("bench.machine.energy.nvml", lambda device: None)
    assert energy_counter(torch.device("cuda")) is None
    monkeypatch.setattr("bench.machine.energy.nvml", lambda device: SimpleNamespace(ask=lambda name: None))
    assert energy_counter(torch.device("cuda")) is None


def test_a_gpu_counts_millijoules(monkeypatch: pytest.MonkeyPatch):
    asked = iter([7000, 7000, 9500])
    gpu = SimpleNamespace(ask=lambda name: next(asked) if name == "nvmlDeviceGetTotalEnergyConsumption" else None)
    monkeypatch.setattr("bench.machine.energy.nvml", lambda device: gpu)
    counter = energy_counter(torch.device("cuda"))
    assert isinstance(counter, GpuEnergy)
    before, after = counter.read(), counter.read()
    assert counter.joules(before, after) == 2.5


class Counter(GpuEnergy):
    """One joule a run of four images."""

    name = "fake"

    def __init__(self):
        self.runs, self.broken = 0, False

    def read(self) -> list[int] | None:
        return None if self.broken and self.runs else [1000 * self.runs]

    def run(self) -> float:
        self.runs += 1
        return 0.75


@pytest.mark.parametrize(("seconds", "runs"), [(2.0, 3), (0.0, 1)])
def test_energy_is_that_of_batches_back_to_back(seconds: float, runs: int):
    counter = Counter()
    found = energy_of(counter.run, 4, counter, seconds)
    assert found == {"joules_per_image": 0.25, "images": 4 * runs, "seconds": 0.75 * runs, "counter": "fake"}


def test_a_counter_that_falls_silent_gives_none():
    counter = Counter()
    counter.broken = True
    assert energy_of(counter.run, 4, counter) is None
    assert energy_of(counter.run, 4, None) is None
