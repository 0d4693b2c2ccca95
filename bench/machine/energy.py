"""Energy: the GPU's own counter (NVML), or the CPU packages' (RAPL); None, not zero, where neither can be read.

Both count the whole device, idle power and other processes included. They are updated only every so often (NVML's every 20 to
100 ms), so energy is measured over batches that run back to back for SECONDS, not over single repetitions.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.machine.nvml import Nvml, nvml

SECONDS = 2.0
POWERCAP = Path("/sys/class/powercap")


class GpuEnergy:
    """The energy counter of a GPU, in millijoules since the driver was loaded (Volta and later)."""

    name = "nvml"

    def __init__(self, gpu: Nvml):
        self._gpu = gpu

    def read(self) -> list[int] | None:
        """The counter now; None where the card has none."""
        value = self._gpu.ask("nvmlDeviceGetTotalEnergyConsumption")
        return None if value is None else [value]

    def joules(self, before: list[int], after: list[int]) -> float:
        """Joules between two readings."""
        return (after[0] - before[0]) * 1e-3


class CpuEnergy:
    """The energy counters of the CPU's packages, in microjoules, which start again at 0 beyond their range (RAPL)."""

    name = "rapl"

    def __init__(self, root: Path = POWERCAP):
        # Cores and memory ("core", "dram") are zones below a package, "psys" holds the packages, and intel-rapl-mmio:* tells of
        # the same ones again: none of them is added.
        self._zones = [z for z in sorted(root.glob("intel-rapl:*")) if _text(z / "name").startswith("package")]

    def read(self) -> list[int] | None:
        """The counters now; None where there are none or only root may read them."""
        values = [_text(z / "energy_uj") for z in self._zones]
        return [int(v) for v in values] if values and all(values) else None

    def joules(self, before: list[int], after: list[int]) -> float:
        """Joules between two readings, at most one wrap-around of each counter apart."""
        spent = 0
        for zone, a, b in zip(self._zones, before, after, strict=True):
            spent += b - a if b >= a else b - a + int(_text(zone / "max_energy_range_uj"))
        return spent * 1e-6


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def energy_counter(device: torch.device) -> GpuEnergy | CpuEnergy | None:
    """The counter of a device that can be read, or None."""
    gpu = nvml(device) if device.type == "cuda" else None
    counter = (GpuEnergy(gpu) if gpu else None) if device.type == "cuda" else CpuEnergy()
    return counter if counter is not None and counter.read() is not None else None


def energy_of(
    run: Callable[[], float], images: int, counter: GpuEnergy | CpuEnergy | None, seconds: float = SECONDS
) -> dict[str, Any] | None:
    """Joules an image: {joules_per_image, images, seconds, counter}, or None without a counter.

    Args:
        run: makes `images` images and returns once the device is done: how many seconds that took by the host's clock.
        images: of one run.
        counter: of the device.
        seconds: to run for, at least once.
    """
    before = None if counter is None else counter.read()
    if counter is None or before is None:
        return None
    runs, spent = 0, 0.0
    while not runs or spent < seconds:
        spent += run()
        runs += 1
    after = counter.read()
    if after is None:
        return None
    joules = counter.joules(before, after)
    return {"joules_per_image": joules / (runs * images), "images": runs * images, "seconds": spent, "counter": counter.name}
