"""What a measurement depends on besides the code under test."""

import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

from samplers.training.precision import cpu_name

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "pandas", "torch-fidelity", "sampler-bench")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def commit() -> str | None:
    """The git commit of the source tree, with "+" where it has changes; None outside a checkout."""
    root = Path(__file__).parents[2]
    try:
        run = lambda *a: subprocess.run(["git", "-C", root, *a], capture_output=True, text=True, check=True).stdout.strip()  # noqa: E731
        if Path(run("rev-parse", "--show-toplevel")) != root.resolve():
            return None
        return run("rev-parse", "HEAD") + ("+" if run("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


@cache
def code() -> str:
    """A hash of our packages' files as they are here, what several processes of one run compare."""
    root, found = Path(__file__).parents[2], hashlib.sha256()
    for path in sorted(p for package in ("bench", "samplers", "dsno") for p in (root / package).rglob("*.py")):
        found.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return found.hexdigest()


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


def fingerprint() -> dict[str, Any]:
    """What times on this machine, in this process, depend on besides the code under test.

    {cpu: model, cores: of the machine, memory_gib: to two digits, machine: architecture, gpu: names or None, torch, python:
    versions, the latter without its patch level, threads: of this process, as set now}. Nothing in it names one machine among
    its like: fresh virtual machines of a kind are one cohort.
    """
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "machine": platform.machine(),
        "gpu": ", ".join(gpus) or None,
        "torch": torch.__version__,
        "python": ".".join(platform.python_version_tuple()[:2]),
        "threads": torch.get_num_threads(),
    }


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """The keys in which two cohorts differ, sorted; none where their times may be compared."""
    lacking = object()
    return sorted(k for k in a.keys() | b.keys() if a.get(k, lacking) != b.get(k, lacking))


def _memory_gib() -> float:
    """The machine's memory, to two digits: what the kernel keeps for itself differs a little between equal machines."""
    return float(f"{psutil.virtual_memory().total / 2**30:.2g}")
