"""`bench doctor`: what this machine can run, what is missing and how to get it, how well it measures; and a teacher."""

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.instruments.teacher_facts import facts
from bench.machine.device import prepare_process
from bench.machine.energy import POWERCAP, CpuEnergy
from bench.machine.noise import measure_machine
from bench.machine.nvml import nvml
from bench.presentation.text import num, plural
from bench.quality.cache import cache_folder
from bench.quality.extractor import load_extractor
from bench.quality.reference import find_reference
from samplers.errors import UserError, foreign, one_line
from samplers.files import write_json
from samplers.models.prompts import read_prompts
from samplers.models.teacher import load_teacher
from samplers.models.zoo import zoo
from samplers.registry import card, names
from samplers.training.precision import cpu_name, has_fast_bf16

OPTIONAL = {
    "diffusers": "teachers diffusers:..: pip install 'sampler-bench\\[diffusers]'",
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
            watched = "conditions and energy by NVML" if nvml(torch.device("cuda", i)) else "no NVML, so conditions are unknown"
            table.add_row(f"GPU {i}", f"{p.name}, {p.total_memory / 2**30:.0f} GiB", f"timed by CUDA events; {watched}")
    else:
        table.add_row("GPU", "none", "times are the CPU's; for a GPU install a driver and PyTorch's CUDA build")
    readable = CpuEnergy().read() is not None
    table.add_row(
        "energy of the CPU",
        "readable" if readable else "not readable",
        "joules an image in records" if readable else f"no energy in records: {POWERCAP} is not there, or for root only",
    )
    table.add_row("PyTorch", torch.__version__, "needs 2.11 or later")
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    table.add_row("disk", f"{free:.1f} GiB free here", "a run of 5,000 images and 60 cells needs about 0.2 GiB while it runs")
    table.add_row("cache", str(cache_folder()), "converged solutions and references; set BENCH_CACHE to move it")
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
    for kind, load in (("teacher", load_teacher), ("extractor", lambda name: find_reference(load_extractor(name)))):
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


def measure(console: Console, device: torch.device, out: Path | None, advance: Callable[[str], None] = lambda _: None) -> None:
    """Measure the machine and print it as a table; `out`, where given, gets it as JSON.

    Raises:
        UserError: the file cannot be written.
    """
    found = measure_machine(device, advance)
    table = Table("measured", "found", "what it means")
    for row in rows(found):
        table.add_row(*row)
    console.print(table)
    if out is not None:
        write_json(out, {"schema": 1} | found)


def teacher(console: Console, spec: str, device: torch.device, out: Path | None, prompts: str | None = None) -> None:
    """Print what a teacher is, what a forward takes, and what speaks against it; `out`, where given, gets it as JSON.

    Raises:
        UserError: it cannot be loaded, or denoises nothing; the file cannot be written.
    """
    prepare_process(device)
    loaded = load_teacher(spec, device=device, prompts=read_prompts(prompts))
    with foreign(f"teacher '{one_line(spec)}' cannot denoise", "its author must mend it"):
        found = facts(loaded, device)
    table = Table("teacher", "found", title=found["name"])
    for row in teacher_rows(found):
        table.add_row(*map(escape, row))
    console.print(table)
    for line in found["doubts"]:
        console.print(f"doubt: {line}", style="yellow", markup=False, soft_wrap=True)
    if out is not None:
        write_json(out, {"schema": 1} | found)


def teacher_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What `facts` found, to read."""
    size = {k: found[k] and "x".join(map(str, found[k])) for k in ("states", "images")}
    latent = "" if size["images"] == size["states"] else f", decoded to {size['images'] or 'nothing: it has no decoder'}"
    classes = "none" if not found["classes"] else f"{found['classes']}, {'or' if found['unconditional'] else 'never'} none"
    high, low = (f"{found[k]:.4g}" for k in ("sigma_max", "sigma_min"))
    end = "" if found["sigma_end"] == found["sigma_min"] else f", to sample to {found['sigma_end']:.4g}"
    told = [
        ("SHA-256", found["sha256"] or "none, so nothing that comes from it is cached"),
        ("states", size["states"] + latent),
        ("classes", classes),
        ("parameters", f"{found['parameters']:,}"),
        ("predicts", found["predicts"] or "the image"),
        ("noise levels", f"{low} to {high}{end}, {found['schedule']}"),
    ]
    if found["times"]:
        told.append(("told as", " to ".join(f"{t:.4g}" for t in found["times"])))
    if found["note"]:
        told.append(("note", str(found["note"])))
    told.append(("FLOPs of a forward", _rate(found["flops"]) if found["flops"] else "none counted: it is no network"))
    for n, s in found["seconds"].items():
        took = "not timed: too long, or too large for the memory" if s is None else f"{num(1e3 * s)} ms on {found['device']}"
        told.append((f"a forward of {plural(int(n), 'image')}", took))
    told.append(("two calls", "denoise" if not found["doubts"] else "speak against it"))
    return told


def rows(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What `measure_machine` found, to read: (what, found, what it means)."""
    t, threads = found["timer"], found["threads"]
    told = [("timer", f"steps of {t['resolution_ns']:.3g} ns, {t['reading_ns']:.3g} ns a reading", "shorter work is repeated")]
    for name, n in found["noise"].items():
        level = f"neighbouring runs differ by {_percent(n['neighbours'])}, the level moved by {_percent(n['drift'])}"
        size = "" if n["ms"] is None else f", {n['ms']:.2g} ms"
        told.append((f"{name}{size}", level, "noise floor and drift of the same work, one thread"))
    effect = _percent(found["noise"]["matrix products"]["effect"])
    told.append(("to be found in a minute", effect, "smallest effect that pairs in one process decide; processes differ more"))
    cpu = found["device"] == "cpu"
    on = f" on {threads} thread{'s' * (threads > 1)}" if cpu else ""
    rate = f"{_rate(found['matrix_flops_per_s'])}FLOP/s{on}"
    told.append(("fastest matrix products", rate, "float32; the ceiling of a pass's FLOP/s"))
    told.append(("fastest copy", f"{_rate(found['copy_bytes_per_s'])}B/s", "read and written; the ceiling of memory traffic"))
    told.append(("CPU governor", found["governor"] or "not told", "'performance' is the quietest; a virtual machine has none"))
    if not cpu:
        told.append(("GPU clock", _gpu(found["gpu"]), "right after work; figures of a limited clock are not the card's"))
    return told


def _percent(x: float | None) -> str:
    return "unknown (too few runs)" if x is None else f"{100 * x:.2g} %"


def _rate(x: float) -> str:
    return f"{x / 1e12:.3g} T" if x >= 1e12 else f"{x / 1e9:.3g} G"


def _gpu(state: dict[str, Any] | None) -> str:
    if state is None:
        return "not told; pip install nvidia-ml-py"
    of = {k: "?" if v is None else v for k, v in state.items()}
    why = "?" if state["limited"] is None else ", ".join(state["limited"]) or "nothing"
    return f"{of['sm_mhz']} of {of['sm_mhz_maximum']} MHz, {of['temperature_c']} °C, limited by {why}"
