"""`bench doctor`: what this machine can run, what is missing and how to get it, how well it measures; and a teacher."""

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from bench.commands.functions.arguments import File
from bench.instruments.teacher_facts import facts
from bench.machine.device import prepare_process, resolve_device
from bench.machine.energy import POWERCAP, CpuEnergy
from bench.machine.noise import measure_machine
from bench.machine.nvml import nvml
from bench.presentation.document import Block, Document, Paragraph, Table, cell, strong
from bench.presentation.text import num, plural
from bench.quality.extractor import load_extractor
from bench.quality.reference import find_reference
from bench.runs.objects import named
from bench.runs.progress import Display
from samplers.cache import cache_folder
from samplers.errors import UserError, foreign, one_line
from samplers.files import write_json
from samplers.models.prompts import read_prompts
from samplers.models.teacher import load_teacher
from samplers.models.zoo import zoo
from samplers.registry import card, names
from samplers.training.precision import cpu_name, has_fast_bf16

OPTIONAL = {
    "azula": "samplers azula:..: pip install 'sampler-bench[azula]'",
    "diffusers": "teachers and samplers diffusers:..: pip install 'sampler-bench[diffusers]'",
    "transformers": "teachers diffusers:.. that are told a text: pip install 'sampler-bench[diffusers]'",
    "k_diffusion": "samplers k_diffusion:..: pip install 'sampler-bench[kdiffusion]' (Python 3.12 at most)",
}


def doctor(
    teacher: Any = None,
    *,
    prompts: str | None = None,
    measure: bool = True,
    device: str = "auto",
    out: File | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """What this machine can run and how well it measures, or all of a teacher.

    Args:
        teacher: tell of this one instead: as a run's `teacher`, by its name or itself.
        prompts: that the teacher makes images of: FILE, or TEXT.
        measure: time the machine too, or only look.
        device: to time: auto, cpu, cuda or cuda:N.
        out: file that gets what was measured, as JSON.
        quiet: no progress.

    Returns:
        {checks: [(what, found, what it means)], broken: [what every run needs and does not work]}, and what
        `bench.machine.noise.measure_machine` found; of a teacher what `bench.instruments.teacher_facts.facts` did.

    Raises:
        samplers.UserError: no such device; a teacher that cannot be loaded, or denoises nothing; a file that cannot be written.
    """
    timed = resolve_device(device)
    if out is not None and not measure:
        raise UserError("--out keeps what is measured; leave out --no-measure")
    with Display(quiet, transient=True) as display, named({"teacher": teacher}) as told:
        if teacher is not None:
            found = _teacher(told["teacher"], prompts, timed)
        else:
            looked = look()
            found = measure_machine(timed, display.now) if measure and not looked["broken"] else {}
    if out is not None:
        write_json(Path(out), {"schema": 1} | found)
    return found if teacher is not None else looked | found


def document(found: dict[str, Any]) -> Document:
    """What `doctor` found, to read."""
    if "checks" not in found:
        table = Table(["teacher", "found"], [list(map(cell, row)) for row in teacher_rows(found)], caption=found["name"])
        return [table, *(Paragraph([strong("doubt"), f": {line}"]) for line in found["doubts"])]
    blocks: list[Block] = [Table(["check", "found", "what it means"], [list(map(cell, row)) for row in found["checks"]])]
    if "timer" in found:
        blocks.append(Table(["measured", "found", "what it means"], [list(map(cell, row)) for row in rows(found)]))
    return blocks


def look() -> dict[str, Any]:
    """{checks, broken} of `doctor`: everything that can be told without a clock."""
    checks: list[tuple[str, str, str]] = []
    cpu = torch.device("cpu")
    checks.append(("CPU", f"{cpu_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads", "runs everything"))
    fast = has_fast_bf16(cpu)
    checks.append(
        (
            "bfloat16 on the CPU",
            "native" if fast else "emulated",
            "training uses it" if fast else "training uses float32; avoid --precision bf16",
        )
    )
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            p = torch.cuda.get_device_properties(i)
            watched = "conditions and energy by NVML" if nvml(torch.device("cuda", i)) else "no NVML, so conditions are unknown"
            checks.append((f"GPU {i}", f"{p.name}, {p.total_memory / 2**30:.0f} GiB", f"timed by CUDA events; {watched}"))
    else:
        checks.append(("GPU", "none", "times are the CPU's; for a GPU install a driver and PyTorch's CUDA build"))
    readable = CpuEnergy().read() is not None
    checks.append(
        (
            "energy of the CPU",
            "readable" if readable else "not readable",
            "joules an image in records" if readable else f"no energy in records: {POWERCAP} is not there, or for root only",
        )
    )
    checks.append(("PyTorch", torch.__version__, "needs 2.11 or later"))
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    checks.append(("disk", f"{free:.1f} GiB free here", "a run of 5,000 images and 60 cells needs about 0.2 GiB while it runs"))
    checks.append(("cache", str(cache_folder()), "converged solutions and references; set BENCH_CACHE to move it"))
    for module, use in OPTIONAL.items():
        checks.append((module, "installed" if importlib.util.find_spec(module) else "missing (optional)", use))
    return _look_at_plug_ins(checks)


def _look_at_plug_ins(checks: list[tuple[str, str, str]]) -> dict[str, Any]:
    """`checks` with those of samplers, teachers and extractors, and what is broken."""
    unusable, broken = [], []
    for name in names():
        try:
            card(name)
        except UserError as e:
            unusable.append(str(e))
    checks.append(
        ("samplers", f"{len(names()) - len(unusable)} of {len(names())} load", "; ".join(unusable) or "see 'bench list'")
    )
    if not names():
        broken.append("no sampler is installed; install the project (pip install -e .) so that its entry points exist")
    for kind, load in (("teacher", load_teacher), ("extractor", lambda name: find_reference(load_extractor(name)))):
        for name in zoo(kind):
            try:
                load(name)
                checks.append((f"{kind} {name}", "loads, hash right", f"bench run --{kind} {name}"))
            except UserError as e:
                broken.append(str(e))
                checks.append((f"{kind} {name}", "does not load", str(e)))
    return {"checks": checks, "broken": broken}


def _teacher(spec: str, prompts: str | None, device: torch.device) -> dict[str, Any]:
    prepare_process(device)
    loaded = load_teacher(spec, device=device, prompts=read_prompts(prompts))
    with foreign(f"teacher '{one_line(spec)}' cannot denoise", "its author must mend it"):
        return facts(loaded, device)


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
    if found["decode_seconds"] is not None:
        told.append(("decoding 1 image", f"{num(1e3 * found['decode_seconds'])} ms on {found['device']}"))
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
    return f"{x / 1e12:.3g} T" if x >= 1e12 else f"{x / 1e9:.3g} G" if x >= 1e9 else f"{x / 1e6:.3g} M"


def _gpu(state: dict[str, Any] | None) -> str:
    if state is None:
        return "not told; pip install nvidia-ml-py"
    of = {k: "?" if v is None else v for k, v in state.items()}
    why = "?" if state["limited"] is None else ", ".join(state["limited"]) or "nothing"
    return f"{of['sm_mhz']} of {of['sm_mhz_maximum']} MHz, {of['temperature_c']} °C, limited by {why}"
