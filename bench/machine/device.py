"""The device that measures: found by its name, and how much memory it took."""

import contextlib
from pathlib import Path

import torch

from samplers.errors import UserError, one_line
from samplers.training.precision import available_cores, reproducible_float32

MOST_THREADS = 1024
"""With many more the OpenMP runtime ends the process."""


def resolve_device(name: str) -> torch.device:
    """A device from its name; "auto" is the first GPU where there is one.

    Raises:
        samplers.UserError: a device that is not there.
    """
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as e:
        raise UserError(f"unknown device '{one_line(name)}'; use cpu, cuda, cuda:N or auto") from e
    if device.type not in ("cpu", "cuda") or (device.type == "cpu" and device.index is not None):
        raise UserError(f"device '{name}' cannot be timed here; use cpu, cuda, cuda:N or auto")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UserError(f"device '{name}' is not there (GPUs found: {torch.cuda.device_count()}); use --device cpu")
    return device


def prepare_process(device: torch.device, threads: int = 0) -> None:
    """Make this process measure alike wherever it does: its current GPU, its CPU threads (0 for all cores), float32.

    Raises:
        UserError: more threads than the system starts.
    """
    if threads > MOST_THREADS:
        raise UserError(f"threads must be at most {MOST_THREADS}, got {one_line(threads, 30)}; 0 takes all cores")
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)  # streams and graphs take the current device
    torch.set_num_threads(threads or available_cores())
    reproducible_float32()


def peak_memory_start(device: torch.device) -> None:
    """Forget the peak memory so far."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif Path("/proc/self/clear_refs").exists():
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int | None:
    """Peak bytes since `peak_memory_start`: allocated on a GPU; the process's resident set on Linux; None elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
