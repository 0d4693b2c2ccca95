"""What a measurement depends on besides the code under test."""

import contextlib
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "pandas", "torch-fidelity", "sampler-bench")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cpu_name() -> str:
    """The CPU's model name, as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), platform.processor() or platform.machine()
    )


@cache
def commit() -> str | None:
    """The git commit of the source tree, with "+" where it has changes; None outside a checkout."""
    root = Path(__file__).parent.parent
    try:
        run = lambda *a: subprocess.run(["git", "-C", root, *a], capture_output=True, text=True, check=True).stdout.strip()  # noqa: E731
        if Path(run("rev-parse", "--show-toplevel")) != root.resolve():
            return None
        return run("rev-parse", "HEAD") + ("+" if run("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def environment(device: torch.device) -> dict[str, Any]:
    """Versions, machine and its load now, for a record."""
    gpu = None
    if device.type == "cuda":
        p = torch.cuda.get_device_properties(device)
        gpu = {"name": p.name, "memory_bytes": p.total_memory, "capability": f"{p.major}.{p.minor}", "cuda": torch.version.cuda}
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": commit(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def resolve_device(name: str) -> torch.device:
    """A device from its name; "auto" is the first GPU where there is one.

    Raises:
        samplers.UserError: a device that is not there.
    """
    from samplers.errors import UserError

    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as e:
        raise UserError(f"unknown device '{name}'; use cpu, cuda, cuda:N or auto") from e
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device '{name}' cannot be timed here; use cpu, cuda, cuda:N or auto")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UserError(f"device '{name}' is not there (GPUs found: {torch.cuda.device_count()}); use --device cpu")
    return device


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
