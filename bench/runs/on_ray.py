"""A plan's cells spread over the workers of a Ray cluster, one that is there or one of this machine's own.

Each cell is a shard. A worker, which has a GPU or some cores of its own, measures one after another and sends its files home;
a cell whose worker is lost is measured again by another. What has come home is kept until all has, and then merged.
"""

import io
import os
import shutil
import socket
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import track

from bench.machine.environment import code
from bench.presentation.text import plural
from bench.records.schema import Record
from bench.records.store import read_records
from bench.runs.cells import Cell, cells
from bench.runs.plan import Plan
from bench.runs.run import run_plan
from bench.runs.shards import Shard, merge, read_part
from samplers.documents import parse_document
from samplers.errors import UserError, one_line
from samplers.files import alone_in
from samplers.training.precision import available_cores

HOME = "shards"
"""Folder of the cells that came home, in the run's until the last is there."""
REACHED_IN = 10.0
"""Seconds for a cluster's first machine to answer."""
RETRIES = 3
"""Times that a cell is begun again whose worker was lost."""


def run_on_ray(plan: Plan, folder: Path, *, quiet: bool = False) -> list[Record]:
    """Measure a plan on a Ray cluster and return all its records; calling it again goes on.

    The cluster is that of RAY_ADDRESS or one begun here by `ray start`; else one is started on this machine for the time of
    the call. Workers have a GPU each where the cluster has any, else the plan's number of threads, or one core.

    Raises:
        UserError: no Ray, or none that answers; a cluster whose code is another; what `run_plan` refuses.
    """
    try:
        import ray
    except ImportError as e:
        raise UserError("--on ray needs the package ray; pip install 'sampler-bench[ray]'") from e
    planned, kept = set(cells(plan)), folder / "records.jsonl"
    found = read_records(kept) if kept.exists() else []
    if planned <= {Cell.of(r) for r in found}:
        return found
    home = folder / HOME
    shards = [Shard(i, len(planned)) for i in range(1, len(planned) + 1)]
    if left := [s for s in shards if not _is_home(home, s, plan)]:
        try:
            _connect(ray)
            with alone_in(home):
                _spread(ray, plan, home, left, quiet)
        finally:
            ray.shutdown()
    records = merge([home / f"{s.index}" for s in shards], folder)
    shutil.rmtree(home)
    return records


def _is_home(home: Path, shard: Shard, plan: Plan) -> bool:
    """Whether a shard has been measured.

    Raises:
        UserError: of another plan.
    """
    folder = home / f"{shard.index}"
    if not folder.exists():
        return False
    part = read_part(folder)
    if (part.shard, part.plan) != (shard, plan):
        raise UserError(f"{home.parent} holds another plan's run; choose another --out")
    return True


def _spread(ray: Any, plan: Plan, home: Path, shards: Sequence[Shard], quiet: bool) -> None:
    """Let the workers measure shards, and keep what they send as it comes."""
    try:
        there = ray.cluster_resources()
        gpus, threads = int(there.get("GPU", 0)), plan.threads or 1
        on = {"num_gpus": 1} if gpus else {"num_cpus": threads}
        count = min(gpus or int(there.get("CPU", 0)) // threads, len(shards))
        if count < 1:
            raise UserError(f"the Ray cluster has no GPU and fewer than {threads} cores; lower --threads")
        worker = ray.remote(max_restarts=-1, max_task_retries=RETRIES, **on)(Worker)
        pool = ray.util.ActorPool([worker.remote(plan.to_yaml(), threads, code()) for _ in range(count)])
        done = pool.map_unordered(lambda w, shard: w.measure.remote(str(shard)), shards)
        with tempfile.TemporaryDirectory(dir=home) as scratch:
            for index, packed in track(
                done, f"{plural(count, 'worker')}", len(shards), console=Console(stderr=True), disable=quiet
            ):
                arrived = Path(scratch) / f"{index}"
                with zipfile.ZipFile(io.BytesIO(packed)) as files:
                    files.extractall(arrived)
                arrived.rename(home / f"{index}")
    except ray.exceptions.RayTaskError as e:
        if isinstance(e.cause, UserError):
            raise UserError(str(e.cause)) from e
        raise
    except ray.exceptions.RayError as e:
        raise UserError(f"a worker was lost {RETRIES + 1} times ({one_line(e)}); run again to go on") from e


def _connect(ray: Any) -> None:
    """Join the cluster that is there, or start one here.

    Raises:
        UserError: it does not answer.
    """
    address, quietly = os.environ.get("RAY_ADDRESS"), {"logging_level": "ERROR", "log_to_driver": False}
    try:
        if address is not None:
            at = urlsplit(address if "//" in address else f"//{address}")
            if at.hostname and at.port:
                socket.create_connection((at.hostname, at.port), REACHED_IN).close()  # Ray itself tries for minutes
            ray.init(**quietly)
            return
        try:
            ray.init(address="auto", **quietly)
        except ConnectionError:
            ray.init(num_cpus=available_cores(), include_dashboard=False, **quietly)
    except (OSError, RuntimeError, ValueError) as e:
        where = one_line(address or "this machine")
        raise UserError(f"no Ray at {where} ({one_line(e)}); start it with 'ray start --head', or unset RAY_ADDRESS") from e


class Worker:
    """What measures in a process of Ray's.

    Args:
        plan: as YAML.
        threads: of its CPU.
        made_by: hash of the code that asks.

    Raises:
        UserError: other code is installed here.
    """

    def __init__(self, plan: str, threads: int, made_by: str):
        self._threads = threads
        if code() != made_by:
            raise UserError("the cluster's workers have another version of bench; install the same one on all machines")
        self._plan = Plan.of(parse_document(plan, "plan", "plan"))

    def measure(self, shard: str) -> tuple[int, bytes]:
        """The shard's number and its run's folder, zipped."""
        part, packed = Shard.parse(shard), io.BytesIO()
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "run"
            run_plan(self._plan, folder, quiet=True, shard=part, threads=self._threads)
            with zipfile.ZipFile(packed, "w") as files:
                for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                    files.write(path, path.relative_to(folder))
        return part.index, packed.getvalue()
