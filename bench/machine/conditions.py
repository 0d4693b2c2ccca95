"""What may have disturbed a measurement, looked at before and after every timed repetition.

The policy for outliers. No value is ever dropped for being an outlier: medians and order statistics bear a few, and what is
slow without a known cause belongs to the distribution. A repetition is dropped for what was *seen* while it ran, and stays in
the raw values with that reason:

- On a GPU (NVML): a slowdown for heat or by the hardware, an SM clock under 75 % of its maximum while the card was not idle, or
  another process on the card. A power cap alone is no reason, because it is the steady state of the very work under test; it
  counts only where it takes the clock under 75 %. It is noted. More than a tenth dropped makes the row invalid; where none
  would be left, all are kept, and the row is invalid all the same.
- On a CPU (Linux) nothing is dropped: the system counts other processes in ticks of 10 ms, too coarse for one repetition. Over
  all repetitions of a cell together, the row is invalid if other processes took more than the cores that this one left free,
  with the stolen time of a virtual machine by more than a tenth of this one's threads: then they must have waited.

Where the system tells nothing (no NVML), conditions are null, and where it tells too little (less timed work than
SHORT, counters that stand still) their `valid` is: unknown, not good.
"""

import time
from collections.abc import Callable, Collection, Sequence
from functools import reduce
from operator import or_
from typing import Any

import psutil
import torch

from bench.machine.nvml import REASONS, Nvml, nvml
from samplers.training.precision import own_cores

DROPPED = 0.1
"""Share of dropped repetitions above which a row is invalid."""
CLOCK = 0.75
"""Of the maximum SM clock, below which a repetition is dropped."""
CONTENTION = 0.1
"""Of this process's threads' cores, that others and the hypervisor may take before a row is invalid."""
SHORT = 0.5
"""Seconds of timed work below which the CPU's ticks tell nothing."""
IDLE, POWER_CAP, SLOWDOWNS = 0x01, 0x04, (0x08, 0x20, 0x40, 0x80)
"""Of `bench.machine.nvml.REASONS`; those of SLOWDOWNS drop a repetition."""
WORK = ("user", "nice", "system", "irq", "softirq", "interrupt", "dpc")
"""What a core's time goes to when it works, as Linux, macOS and Windows call it."""
Reading = dict[str, Any]
"""What was seen during one repetition; `dropped` is a list of reasons to drop it."""


def core_times() -> list[Any]:
    """Of each core of the machine: seconds since it started, by what they went to."""
    return psutil.cpu_times(percpu=True)


class CpuWatch:
    """Other processes' and stolen time on the cores that this process may use, as the system counts it.

    Args:
        threads: of this process.
        cores: numbers of those cores.
        times: as `core_times`.
        own: seconds of work of this process so far.
        now: seconds of the clock.
    """

    def __init__(
        self,
        threads: int,
        *,
        cores: Collection[int],
        times: Callable[[], Sequence[Any]] = core_times,
        own: Callable[[], float] = time.process_time,
        now: Callable[[], float] = time.perf_counter,
    ):
        self._cores, self._threads = cores, min(threads, len(cores))
        self._times, self._own, self._now = times, own, now

    def look(self) -> dict[str, float]:
        """Seconds so far: of the clock, of this process, of all work on its cores, and stolen from them."""
        times = self._times()
        spent = {kind: sum(getattr(times[i], kind, 0.0) for i in self._cores) for kind in (*WORK, "steal")}
        busy = sum(spent[kind] for kind in WORK)
        return {"now": self._now(), "own": self._own(), "busy": busy, "stolen": spent["steal"]}

    def between(self, before: dict[str, float], after: dict[str, float]) -> Reading:
        """What happened between two looks."""
        d = {key: after[key] - before[key] for key in before}
        others = d["busy"] - d["own"]
        return {"dropped": [], "seconds": d["now"], "own_s": d["own"], "others_s": others, "stolen_s": d["stolen"]}

    def verdict(self, readings: Sequence[Reading]) -> dict[str, Any]:
        """The record's `time.conditions`: {valid, reasons, dropped, seconds, other_cores, stolen_cores}."""
        keys = ("seconds", "own_s", "others_s", "stolen_s")
        seconds, own, others, stolen = (sum(r[key] for r in readings) for key in keys)
        found: dict[str, Any] = {"valid": True, "reasons": [], "dropped": 0, "seconds": round(seconds, 3)}
        if seconds < SHORT or others < -own / 2:
            return found | {"valid": None, "other_cores": None, "stolen_cores": None}
        others, stolen = max(others / seconds, 0.0), stolen / seconds
        free = len(self._cores) - self._threads
        if max(others - free, 0.0) + stolen > CONTENTION * self._threads:
            beside = f"beside {self._threads} thread{'s' * (self._threads > 1)} of this one"
            reason = f"other processes used {others:.2f} of {len(self._cores)} cores, {stolen:.2f} were stolen, {beside}"
            found |= {"valid": False, "reasons": [reason]}
        return found | {"other_cores": round(others, 3), "stolen_cores": round(stolen, 3)}


class GpuWatch:
    """Slowdowns, clock, temperature and other processes of a GPU, from NVML."""

    def __init__(self, gpu: Nvml):
        self._gpu = gpu
        self._nominal = gpu.ask("nvmlDeviceGetMaxClockInfo", gpu.library.NVML_CLOCK_SM)

    def look(self) -> dict[str, Any]:
        """The card's state now; None for what it does not tell."""
        ask, library = self._gpu.ask, self._gpu.library
        processes = ask("nvmlDeviceGetComputeRunningProcesses")
        return {
            "bits": ask("nvmlDeviceGetCurrentClocksThrottleReasons"),
            "sm_mhz": ask("nvmlDeviceGetClockInfo", library.NVML_CLOCK_SM),
            "temperature_c": ask("nvmlDeviceGetTemperature", library.NVML_TEMPERATURE_GPU),
            # In a container the list may have foreign numbers, so ours is not looked for but taken off; or be empty.
            "others": len(processes) - 1 if processes else None,
        }

    def between(self, before: dict[str, Any], after: dict[str, Any]) -> Reading:
        """What two looks saw, the worse of each."""
        looks = (before, after)
        known = [x["bits"] for x in looks if x["bits"] is not None]
        bits = reduce(or_, known, 0)
        reasons = [REASONS[bit] for bit in SLOWDOWNS if bits & bit]
        # An idle card's clock is low because nothing runs; the next kernel raises it.
        clocks = [x["sm_mhz"] for x in looks if x["sm_mhz"] is not None and not (x["bits"] or 0) & IDLE]
        slowest = min(clocks, default=None)
        if slowest is not None and self._nominal and slowest < CLOCK * self._nominal:
            reasons.append(f"SM clock under {CLOCK:.0%} of its maximum")
        others = max((x["others"] for x in looks if x["others"] is not None), default=None)
        if others:
            reasons.append("another process on the GPU")
        return {
            "dropped": reasons,
            "sm_mhz": slowest,
            "temperature_c": max((x["temperature_c"] for x in looks if x["temperature_c"] is not None), default=None),
            "other_processes": others,
            "power_capped": bool(bits & POWER_CAP),
            "told": bool(known),
        }

    def verdict(self, readings: Sequence[Reading]) -> dict[str, Any]:
        """The record's `time.conditions`: {valid, reasons, dropped, and the extremes of what was seen}."""
        dropped = [r for r in readings if r["dropped"]]
        reasons = sorted({reason for r in dropped for reason in r["dropped"]})
        bad = len(dropped) > DROPPED * len(readings)
        told = any(r["told"] for r in readings)

        def seen(key: str, worst: Callable[..., Any]) -> Any:
            return worst((r[key] for r in readings if r[key] is not None), default=None)

        return {
            "valid": False if bad else True if told else None,
            "reasons": [f"{len(dropped)} of {len(readings)} repetitions dropped: {', '.join(reasons)}"] if dropped else [],
            "dropped": len(dropped),
            "sm_mhz": seen("sm_mhz", min),
            "sm_mhz_maximum": self._nominal,
            "temperature_c": seen("temperature_c", max),
            "other_processes": seen("other_processes", max),
            "power_capped": sum(r["power_capped"] for r in readings),
        }


Watch = CpuWatch | GpuWatch


def watch(device: torch.device, threads: int) -> Watch | None:
    """Who watches a device's conditions, or None where the system tells nothing."""
    if device.type == "cuda":
        gpu = nvml(device)
        return None if gpu is None else GpuWatch(gpu)
    cores = own_cores()
    if max(cores) >= len(core_times()):  # some are switched off, and nobody tells which these are
        return None
    return CpuWatch(threads, cores=cores)


def watched(watch: Watch | None, run: Callable[[], Any]) -> tuple[Any, Reading | None]:
    """What `run` returns, and what was seen of the machine meanwhile."""
    if watch is None:
        return run(), None
    before = watch.look()
    result = run()
    return result, watch.between(before, watch.look())
