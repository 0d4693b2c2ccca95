"""Run code in two processes at once, as torchrun would start them on one machine."""

import math
import os
import socket
import subprocess
import sys
from pathlib import Path

from samplers.models.weights import load_tensors

ROOT = Path(__file__).parents[2]
ALONE = """
import torch
import samplers.training.precision
torch.set_num_threads(1)
samplers.training.precision.has_fast_bf16 = lambda device: False
"""


def in_two_processes(code: str, folder: Path) -> None:
    """Run `code` in `folder` twice at once, one thread each, in float32; both must succeed."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    shared |= {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", ALONE + code]
    processes = [subprocess.Popen(command, cwd=folder, env=shared | {"RANK": r, "LOCAL_RANK": r}) for r in "01"]
    try:
        assert [p.wait(timeout=600) for p in processes] == [0, 0]
    finally:
        for p in processes:
            p.kill()


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
