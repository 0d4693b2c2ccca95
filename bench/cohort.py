"""The cohort of a result: what two of them must share before their times may be compared."""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from typing import Any

import torch

from bench.environment import cpu_name


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


def digest(cohort: Mapping[str, Any]) -> str:
    """A short name of a cohort, 12 hexadecimal digits."""
    return hashlib.sha256(json.dumps(cohort, sort_keys=True).encode()).hexdigest()[:12]


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """The keys in which two cohorts differ, sorted; none where their times may be compared."""
    lacking = object()
    return sorted(k for k in a.keys() | b.keys() if a.get(k, lacking) != b.get(k, lacking))


def _memory_gib() -> float | None:
    """The machine's memory, to two digits: what the kernel keeps for itself differs a little between equal machines."""
    try:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
    return float(f"{size / 2**30:.2g}")
