"""What this machine measures well: its timer, its noise, its ceilings and its state. `bench doctor` prints it."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.instruments.clock import Clock
from bench.instruments.paired import Paired, Rule, Task, measure
from bench.machine.environment import environment, fingerprint
from bench.machine.nvml import REASONS, Nvml, nvml
from bench.machine.peak_rates import copy_rate, matrix_rate

SECONDS = 8.0
"""For the noise, of both loops together."""
CEILING_SECONDS = 2.0
"""For each ceiling, about."""
MINUTE = 60.0
"""Of pairs, in which an effect is to be found."""
EMPTY = 20_000
"""Turns of the empty loop: about half a millisecond of Python."""
PRODUCTS = 5e-3
"""Seconds of matrix products in a run, about what a pass of a sampler takes."""
SIZES = {"cuda": 2048, "cpu": 256}
"""Of their matrices."""
NEVER = 1e-12
"""An effect so small that no interval is narrow enough for it: the pairs go on to the end of their time."""
BLOCKS = 10
"""Stretches of time whose levels are compared for the drift."""
CPUFREQ = Path("/sys/devices/system/cpu")


def measure_machine(device: torch.device, advance: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure the machine, in about a dozen seconds; what cannot be told is None.

    Noise is measured on one thread, as `bench compare` measures, ceilings on all.

    Returns:
        {device, timer, noise: {LOOP: see `noise`}, matrix_flops_per_s, copy_bytes_per_s, threads, governor, gpu, cohort,
        environment}
    """
    clock, threads = Clock(device), torch.get_num_threads()
    advance("timer")
    found: dict[str, Any] = {"device": str(device), "timer": timer()}
    torch.set_num_threads(1)
    try:
        timed = lambda run: clock.time(run)[1].seconds  # noqa: E731
        loops = {"empty loop": empty_loop, "matrix products": matrix_loop(device, timed)}
        advance("noise")
        found["noise"] = noise(loops, SECONDS, timed)
    finally:
        torch.set_num_threads(threads)
    advance("ceilings")
    found["matrix_flops_per_s"] = matrix_rate(device, clock, CEILING_SECONDS)
    gpu = nvml(device) if device.type == "cuda" else None  # right after work: an idle card lowers its clock
    found["gpu"] = None if gpu is None else gpu_state(gpu)
    found["copy_bytes_per_s"] = copy_rate(device, clock, CEILING_SECONDS)
    return found | {
        "threads": threads,
        "governor": governor(),
        "cohort": fingerprint(),
        "environment": environment(device),
    }


# ---------------------------------------------------------------------- timer and noise


def timer(now: Callable[[], int] = time.perf_counter_ns, readings: int = 10_000) -> dict[str, float]:
    """The host's timer: {resolution_ns: smallest step it was seen to make, reading_ns: what reading it costs}."""
    ticks = np.array([now() for _ in range(readings)])
    steps = np.diff(ticks)
    return {"resolution_ns": float(steps[steps > 0].min()), "reading_ns": float(ticks[-1] - ticks[0]) / (readings - 1)}


def empty_loop() -> None:
    """Python alone."""
    for _ in range(EMPTY):
        pass


def matrix_loop(device: torch.device, timed: Callable[[Task], float]) -> Task:
    """As many matrix products as take about PRODUCTS seconds on this device."""
    n = SIZES.get(device.type, 256)
    a, b = (torch.randn(n, n, device=device) for _ in range(2))

    def products(count: int) -> None:
        for _ in range(count):
            torch.mm(a, b)

    products(10)
    many = max(round(PRODUCTS / (min(timed(lambda: products(10)) for _ in range(5)) / 10)), 1)
    return lambda: products(many)


def noise(loops: dict[str, Task], seconds: float, timed: Callable[[Task], float]) -> dict[str, dict[str, Any]]:
    """Each loop against itself, in pairs that take turns: what `bench.instruments.paired` sees where there is nothing to see.

    Args:
        loops: name -> what to run.
        seconds: for all of them together.
        timed: runs a loop and returns the seconds that took.

    Returns:
        name -> {ms: median of a run, pairs, sd: standard deviation of the pairs' log ratios, neighbours: median distance of a
        pair's two times, relative, which is the noise floor, drift: see `drift`, effect: see `detectable`}
    """
    pairs = measure({name: (run, run) for name, run in loops.items()}, Rule(NEVER, seconds), 0, timed)
    return {name: _noise(p) for name, p in pairs.items()}


def _noise(pairs: Paired) -> dict[str, Any]:
    logs = pairs.log_ratios()
    if len(logs) < 2:
        return {"ms": None, "pairs": len(logs), "sd": None, "neighbours": None, "drift": None, "effect": None}
    return {
        "ms": 1e3 * float(np.median([*pairs.a, *pairs.b])),
        "pairs": len(logs),
        "sd": float(logs.std(ddof=1)),
        "neighbours": math.expm1(float(np.median(np.abs(logs)))),
        "drift": drift(np.array(pairs.a)),
        "effect": detectable(pairs),
    }


def drift(times: np.ndarray) -> float | None:
    """How far a run's level moved, relative: highest over lowest of the medians of BLOCKS stretches of [n], less 1.

    None for fewer than three times in a stretch.
    """
    if len(times) < 3 * BLOCKS:
        return None
    levels = [float(np.median(block)) for block in np.array_split(times, BLOCKS)]
    return max(levels) / min(levels) - 1


def detectable(pairs: Paired, seconds: float = MINUTE) -> float | None:
    """The smallest relative effect e that this many seconds of such pairs decide, from pairs of a loop with itself.

    Pairs are enough for an effect e when the 99 % interval of their median log ratio has a half width of log(1 + e) / 8
    (`paired.Rule`). The n pairs at hand have the half width w. N = n T / t would fit into T seconds, if n took t, and an
    interval of order statistics narrows with the square root of their number:

        w sqrt(n / N) = log(1 + e) / 8,   so   e = exp(8 w sqrt(t / T)) - 1

    It takes the interval itself and not the ratios' standard deviation sd, because a neighbour's bursts raise that manyfold and
    the median hardly feels them; for normal noise both give the same, w = 2.58 sqrt(pi / 2) sd / sqrt(n). Differences between
    processes, and a machine that gets busier, come on top. None for too few pairs.
    """
    low, high = pairs.interval()
    if low is None or high is None:
        return None
    spent = sum(pairs.a) + sum(pairs.b)
    return math.expm1(8 * (high - low) / 2 * math.sqrt(spent / seconds))


# ---------------------------------------------------------------------- state


def governor(root: Path = CPUFREQ) -> str | None:
    """What sets the CPU's clock ("performance", "powersave", ..), each kind once; None where the system does not tell."""
    found = set()
    for path in root.glob("cpu[0-9]*/cpufreq/scaling_governor"):
        try:
            found.add(path.read_text().strip())
        except OSError:
            continue
    return ", ".join(sorted(found)) or None


def gpu_state(gpu: Nvml) -> dict[str, Any]:
    """{sm_mhz, sm_mhz_maximum, temperature_c, limited: reasons why the clock is below its maximum}, None where not told."""
    library = gpu.library
    bits = gpu.ask("nvmlDeviceGetCurrentClocksThrottleReasons")
    return {
        "sm_mhz": gpu.ask("nvmlDeviceGetClockInfo", library.NVML_CLOCK_SM),
        "sm_mhz_maximum": gpu.ask("nvmlDeviceGetMaxClockInfo", library.NVML_CLOCK_SM),
        "temperature_c": gpu.ask("nvmlDeviceGetTemperature", library.NVML_TEMPERATURE_GPU),
        "limited": None if bits is None else [why for bit, why in REASONS.items() if bits & bit],
    }
