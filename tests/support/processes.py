"""Run code in processes of its own: to kill one, or two at once as torchrun would start them on one machine.

They are forked from a server that has loaded torch and our packages already, and nothing else: starting Python again for each
would be three to five seconds of imports.
"""

import math
import multiprocessing
import os
import socket
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from samplers.models.weights import load_tensors

ROOT = Path(__file__).parents[2]
ALONE = """
import torch
import samplers.training.precision
torch.set_num_threads(1)
samplers.training.precision.has_fast_bf16 = lambda device: False
samplers.training.precision.available_cores = lambda: 1
"""
"""One thread, float32: as the tests themselves run."""

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(["torch._dynamo", "bench.studies.study", "bench.runs.run", "dsno.training"])


def _run(code: str, folder: Path, variables: dict[str, str]) -> None:
    os.chdir(folder)
    os.environ.update(variables)
    exec(ALONE + code, {"__name__": "__main__"})


def start(code: str, folder: Path, **variables: str) -> BaseProcess:
    """A process that runs `code` in `folder`, one thread, in float32; its `exitcode` is -9 where it was killed."""
    process = _FORKED.Process(target=_run, args=(code, folder, variables))
    with pytest.MonkeyPatch.context() as m:  # of the server, which the first process starts
        m.setenv("PYTHONPATH", str(ROOT))
        m.setenv("OMP_NUM_THREADS", "1")
        process.start()
    return process


def exit_code(process: BaseProcess) -> int | None:
    process.join(600)
    process.kill()
    process.join()
    return process.exitcode


def in_processes(code: str, folder: Path, size: int = 2) -> list[BaseProcess]:
    """Processes that run `code` at once, and find one another as torchrun's do."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    shared = {"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [start(code, folder, **shared, RANK=str(r), LOCAL_RANK=str(r)) for r in range(size)]


def in_two_processes(code: str, folder: Path) -> None:
    """Run `code` twice at once; both must succeed."""
    assert [exit_code(p) for p in in_processes(code, folder)] == [0, 0]


def difference(one: Path, two: Path) -> float:
    """How far two trainings' gradients are apart: norm of the difference of Adam's first moments, relative.

    Weights would be too strict: biases that a norm takes out again have gradients of nothing but rounding, of which Adam makes
    whole steps. Without exchange between the processes this is of order 1.
    """
    a, b = (load_tensors(f / "checkpoint.safetensors")[0] for f in (one, two))
    assert a.keys() == b.keys()
    pairs = [(a[k].double(), b[k].double()) for k in a if k.startswith("m/")]
    apart = sum(float((x - y).square().sum()) for x, y in pairs)
    return math.sqrt(apart / sum(float(x.square().sum()) for x, _ in pairs))
