"""`bench doctor`: what this machine can run, what is missing, and how to get it."""

import importlib.util
import os
import shutil
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from bench.environment import cpu_name
from bench.quality.extractor import load_extractor
from bench.quality.trajectory import cache_folder
from samplers.errors import UserError
from samplers.registry import card, names
from samplers.teacher import load_teacher, zoo
from samplers.training import has_fast_bf16

OPTIONAL = {
    "diffusers": "a test oracle: pip install 'sampler-bench\\[test]'",
    "k_diffusion": "a test oracle: pip install 'sampler-bench\\[kdiffusion]' (Python 3.12 at most)",
}


def examine(console: Console) -> None:
    """Print the checks as a table, one line each, with what to do where something is missing.

    Raises:
        UserError: something that every run needs does not work.
    """
    table = Table("check", "found", "what it means")
    cpu = torch.device("cpu")
    table.add_row("CPU", f"{cpu_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads", "runs everything")
    fast = has_fast_bf16(cpu)
    table.add_row(
        "bfloat16 on the CPU",
        "native" if fast else "emulated",
        "training uses it" if fast else "training uses float32; avoid --precision bf16",
    )
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            p = torch.cuda.get_device_properties(i)
            table.add_row(f"GPU {i}", f"{p.name}, {p.total_memory / 2**30:.0f} GiB", "timed by CUDA events")
    else:
        table.add_row("GPU", "none", "times are the CPU's; for a GPU install a driver and PyTorch's CUDA build")
    table.add_row("PyTorch", torch.__version__, "needs 2.11 or later")
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    table.add_row("disk", f"{free:.1f} GiB free here", "a run of 5,000 images and 60 cells needs about 0.2 GiB while it runs")
    table.add_row("cache", str(cache_folder()), "converged solutions; set BENCH_CACHE to move it")
    for module, use in OPTIONAL.items():
        table.add_row(module, "installed" if importlib.util.find_spec(module) else "missing (optional)", use)
    broken = []
    for name in names():
        try:
            card(name)
        except UserError as e:
            broken.append(str(e))
    table.add_row("samplers", f"{len(names()) - len(broken)} of {len(names())} load", "; ".join(broken) or "see 'bench list'")
    if not names():
        console.print(table)
        raise UserError("no sampler is installed; install the project (pip install -e .) so that its entry points exist")
    damaged = []
    for kind, load in (("teacher", load_teacher), ("extractor", load_extractor)):
        for name in zoo(kind):
            try:
                load(name)
                table.add_row(f"{kind} {name}", "loads, hash right", f"bench run --{kind} {name}")
            except UserError as e:
                damaged.append(str(e))
                table.add_row(f"{kind} {name}", "does not load", str(e))
    console.print(table)
    if damaged:
        raise UserError(damaged[0])
