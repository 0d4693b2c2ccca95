"""Phase: cold start, from nothing to the first image, in a fresh process, once for each cell.

The process started here says on its standard output when it has loaded, compiled and made an image; the one that started it
reads the clock at each line. So `load` holds the interpreter and all imports too. What the system keeps in memory of earlier
runs (files) is there; what torch keeps of earlier compilations is not used.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.records.schema import ColdStart as Found
from bench.runs.cells import Cell
from bench.runs.phase import Phase
from bench.runs.plan import Plan
from samplers.models.zoo import add_zoo, added_zoos
from samplers.plugin import use_file, used_files
from samplers.time_limit import at_most

if TYPE_CHECKING:
    from bench.records.store import Store
    from bench.runs.measurement import Measurement
    from bench.runs.session import Session

LONGEST = 1800.0
"""Seconds that it may take; to compile takes minutes."""
STAGES = ("load", "compile", "first_image")


class ColdStart(Phase):
    """Fills `time.cold_start_s`, before this process takes its own times."""

    name = "cold_start"

    def wanted(self, plan: Plan) -> bool:
        return plan.cold_start

    def measure(self, m: "Measurement", session: "Session", store: "Store") -> None:
        import torch

        kept = store.scratch.rows(m.cell.id, self.name, Found)
        if not kept:
            kept = [Found(**cold_start(session.plan, m.cell, str(session.device), torch.get_num_threads()))]
            store.scratch.append(m.cell.id, self.name, kept[0])
        m.tell("time", cold_start_s=kept[0])


def cold_start(
    plan: Plan, cell: Cell, device: str, threads: int, *, now: Callable[[], float] = time.perf_counter
) -> dict[str, float | None]:
    """Seconds {load, compile, first_image, total} of a cell; compile is None in mode eager.

    `compile` ends with the first call in mode compile, which compiles, and with the capture in mode graph; `first_image` is the
    image after that.

    Raises:
        RuntimeError: the process ended before it had made an image.
    """
    names = ("teacher", "guidance", "guidance_calls", "guide", "prompts", "images", "seed", "labels", "precision")
    setting = {k: getattr(plan, k) for k in names} | {"sampler": cell.sampler, "steps": cell.steps, "mode": cell.mode}
    setting |= {"device": device, "threads": threads, "zoo": [str(folder) for folder in added_zoos()]}
    setting["plugins"] = [str(file) for file in used_files()]
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    command = [sys.executable, "-P", "-m", "bench.runs.cold_start", json.dumps(setting)]
    begin = now()
    marks, last = {}, "no message"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as process:
        try:
            with at_most(LONGEST):
                for line in process.stdout or ():
                    word = line.strip()
                    if word in STAGES:
                        marks[word] = now()
                    last = word or last
        except BaseException:
            process.kill()
            raise
    if process.returncode or "first_image" not in marks:
        raise RuntimeError(f"cold start: the process ended with {process.returncode} ({last})")
    return between(begin, marks)


def between(begin: float, marks: dict[str, float]) -> dict[str, float | None]:
    """The seconds of each stage, from the times at which they ended, and of all together."""
    found: dict[str, float | None] = dict.fromkeys(STAGES)
    last = begin
    for stage in STAGES:
        if stage in marks:
            found[stage], last = marks[stage] - last, marks[stage]
    return found | {"total": last - begin}


def _start(setting: dict[str, Any]) -> None:
    """What the fresh process does."""
    import torch
    from torch import Tensor

    import samplers
    from bench.instruments.modes import Run, ready
    from samplers.models.guidance import guided
    from samplers.models.prompts import read_prompts
    from samplers.training.precision import reproducible_float32

    for folder in setting["zoo"]:
        add_zoo(Path(folder))
    for file in setting["plugins"]:
        use_file(Path(file))
    device = torch.device(setting["device"])
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)  # graphs take the current device
    torch.set_num_threads(setting["threads"])
    reproducible_float32()
    load = partial(samplers.load_teacher, device=device, prompts=read_prompts(setting["prompts"], setting["images"]))
    guide = None if setting["guide"] is None else load(setting["guide"])
    teacher = load(setting["teacher"])
    teacher = guided(teacher, setting["guidance"], setting["guidance_calls"], guide)
    sampler = samplers.get(setting["sampler"])
    sampler.prepare(teacher, device, setting["steps"])
    z = samplers.noise(setting["seed"], range(1), teacher.shape, device=device)
    labelled = setting["labels"] == "balanced" and teacher.num_classes
    labels = torch.zeros(1, dtype=torch.int64, device=device) if labelled else None

    @torch.no_grad()
    def sample(z: Tensor, labels: Tensor | None) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=setting["precision"] == "bf16"):
            return sampler.sample(teacher, z, steps=setting["steps"], labels=labels)

    def done(stage: str) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        print(f"\n{stage}", flush=True)  # whatever a sampler has printed before

    run: Run = sample
    done("load")
    if setting["mode"] != "eager":
        run = ready(setting["mode"], run, [*teacher.networks(), *sampler.networks()], z, labels)
        if setting["mode"] == "compile":
            run(z, labels)
        done("compile")
    run(z, labels)
    done("first_image")


if __name__ == "__main__":
    _start(json.loads(sys.argv[1]))
