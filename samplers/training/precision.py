"""How a processor is used: its number formats, compilation, and cores."""

import os
import platform
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


def quicken(networks: Iterable[nn.Module], optimisation: Optimisation, device: torch.device) -> bool:
    """Compile networks in place where the recipe and the device allow it, and say whether; names and weights stay as they are.

    CUDA graphs too, but for a batch in parts: a graph's next replay would overwrite gradients that are still being summed.
    """
    if not optimisation.compile or device.type != "cuda":
        return False
    torch.backends.cudnn.benchmark = True
    for network in networks:
        network.compile(dynamic=False, mode="reduce-overhead" if optimisation.accumulate == 1 else "default")
    return True


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


def use_all_cores() -> None:
    """Train with every core this process may use: its share where torchrun started several here."""
    torch.set_num_threads(max(available_cores() // told("LOCAL_WORLD_SIZE", 1, low=1), 1))


def reproducible_float32() -> None:
    """Let a GPU's float32 be float32 (TensorFloat-32 has a mantissa of 10 bits), and its algorithms the same in each process.

    Trainers that compile their networks let cuDNN try which algorithm is fastest; what is measured or scored after them in the
    same process must not depend on that.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
