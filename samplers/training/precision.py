"""How a processor is used: its number formats, compilation, and cores."""

import os
import platform
import shutil
import sysconfig
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import psutil
import torch
from torch import nn

from samplers.training.optimisation import Optimisation
from samplers.world import told


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is worth using: any CUDA device since Ampere, or a CPU with native bf16 (without it, it is slower)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def autocast(device: torch.device) -> torch.autocast:
    """Autocast to bfloat16 where that is fast, else no change."""
    return torch.autocast(device.type, torch.bfloat16, enabled=has_fast_bf16(device))


WORTH_COMPILING = 1000
"""Updates of a training on a CPU that win back what compiling costs there: half a minute, for 1.3 times the rate."""


def quicken(networks: Iterable[nn.Module], optimisation: Optimisation, device: torch.device) -> bool:
    """Compile networks in place where the recipe and the device allow it, and say whether; names and weights stay as they are.

    CUDA graphs too, but for a batch in parts: a graph's next replay would overwrite gradients that are still being summed. A
    CPU needs a C++ compiler, and a training long enough.
    """
    on_cpu = device.type == "cpu" and optimisation.steps >= WORTH_COMPILING and has_cpp_compiler()
    if not optimisation.compile or not (on_cpu or device.type == "cuda"):
        return False
    torch.backends.cudnn.benchmark = True
    graphs = device.type == "cuda" and optimisation.accumulate == 1
    for network in networks:
        network.compile(dynamic=False, mode="reduce-overhead" if graphs else "default")
    return True


@cache
def has_cpp_compiler() -> bool:
    """Whether this machine can compile for its CPU: a C++ compiler, and Python's headers."""
    return shutil.which(os.environ.get("CXX", "g++")) is not None and Path(sysconfig.get_path("include"), "Python.h").exists()


def available_cores() -> int:
    """Cores that this process may use."""
    return len(own_cores())


def own_cores() -> list[int]:
    """Their numbers."""
    process = psutil.Process()
    return process.cpu_affinity() if hasattr(process, "cpu_affinity") else list(range(os.cpu_count() or 1))


@cache
def cpu_name() -> str:
    """The CPU's model name, as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def cores_each() -> int:
    """Cores for this process: all that it may use, or its share of them where torchrun started several here."""
    return max(available_cores() // told("LOCAL_WORLD_SIZE", 1, low=1), 1)


def use_all_cores() -> None:
    """Train with all of them."""
    torch.set_num_threads(cores_each())


def reproducible_float32() -> None:
    """Let a GPU's float32 be float32 (TensorFloat-32 has a mantissa of 10 bits), and its algorithms the same in each process.

    Trainers that compile their networks let cuDNN try which algorithm is fastest; what is measured or scored after them in the
    same process must not depend on that.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
