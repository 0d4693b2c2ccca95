"""A plan's cells spread over the workers of a Ray cluster, one that is there or one of this machine's own.

Each cell is a shard. A worker, which has a GPU or some cores of its own, measures one after another and sends its files home;
a cell whose worker is lost is measured again by another. What has come home is kept until all has, and then merged.
"""

import atexit
import os
import shutil
import socket
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
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
from samplers.models.zoo import add_zoo, added_zoos
from samplers.plugin import use_file, used_files
from samplers.training.precision import available_cores

HOME = "shards"
"""Folder of the cells that came home, in the run's until the last is there."""
REACHED_IN = 10.0
"""Seconds for a cluster's first machine to answer."""
RETRIES = 3
"""Times that a cell is begun again whose worker was lost."""
PIECE = 2**25
"""Bytes of a run's files that are in memory at once on their way home."""


def run_on_ray(plan: Plan, folder: Path, *, quiet: bool = False) -> list[Record]:
    """Measure a plan on a Ray cluster and return all its records; calling it again goes on.

    The cluster is that of RAY_ADDRESS or one begun here by `ray start`; else one is started on this machine for the time of
    the call. Workers have a GPU each where the cluster has any, else the plan's number of threads, or one core. They get the
    content of this process's `--plugin` files; folders of `--zoo` they have to see where this process does.

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
        plugins = {file.name: file.read_bytes() for file in used_files()}
        given = (plan.to_yaml(), threads, code(), plugins, [str(zoo) for zoo in added_zoos()])
        workers, waiting, busy = [worker.remote(*given) for _ in range(count)], list(shards), {}

        def begin(one: Any) -> None:
            if waiting:
                shard = waiting.pop(0)
                busy[one.measure.options(num_returns="streaming").remote(str(shard))] = (one, shard)

        for one in workers:
            begin(one)
        shown = track(range(len(shards)), f"{plural(count, 'worker')}", console=Console(stderr=True), disable=quiet)
        with tempfile.TemporaryDirectory(dir=home) as scratch:
            for _ in shown:
                [done], _rest = ray.wait(list(busy), num_returns=1)
                one, shard = busy.pop(done)
                arrived = Path(scratch) / f"{shard.index}"
                _unpack((ray.get(piece) for piece in done), arrived)
                begin(one)
                arrived.rename(home / f"{shard.index}")
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
            own = {"worker_niceness": 0}  # Ray's is 15: beside anything else workers would stand still, and be timed so
            ray.init(num_cpus=available_cores(), include_dashboard=False, _system_config=own, **quietly)
    except (OSError, RuntimeError, ValueError) as e:
        where = one_line(address or "this machine")
        raise UserError(f"no Ray at {where} ({one_line(e)}); start it with 'ray start --head', or unset RAY_ADDRESS") from e


def _unpack(pieces: Iterable[bytes], folder: Path) -> None:
    """Write the files of a zip that comes in pieces.

    Raises:
        UserError: they are not of one zip: a worker was lost between two of them.
    """
    packed = folder.with_suffix(".zip")
    with open(packed, "wb") as f:
        for piece in pieces:
            f.write(piece)
    try:
        with zipfile.ZipFile(packed) as files:
            files.extractall(folder)
    except zipfile.BadZipFile as e:
        raise UserError("a worker was lost while it sent a cell's files; run again to go on") from e
    packed.unlink()


class Worker:
    """What measures in a process of Ray's.

    Args:
        plan: as YAML.
        threads: of its CPU.
        made_by: hash of the code that asks.
        plugins: content of the files of samplers that are used, by their names.
        zoos: folders of trainings whose cards count as shipped.
    """

    def __init__(self, plan: str, threads: int, made_by: str, plugins: dict[str, bytes], zoos: Sequence[str]):
        self._plan, self._threads, self._made_by, self._plugins, self._zoos = plan, threads, made_by, plugins, zoos

    @cached_property
    def plan(self) -> Plan:
        """The plan, whose samplers and cards are then known here.

        Raises:
            UserError: other code is installed here, a folder is not here, or what `use_file` refuses.
        """
        if code() != self._made_by:
            raise UserError("the cluster's workers have another version of bench; install the same one on all machines")
        for zoo in self._zoos:
            add_zoo(Path(zoo))
        folder = Path(tempfile.mkdtemp(prefix="bench-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        for name, content in self._plugins.items():
            (folder / name).write_bytes(content)
            use_file(folder / name)
        return Plan.of(parse_document(self._plan, "plan", "plan"))

    def measure(self, shard: str) -> Iterator[bytes]:
        """The folder of a shard's run, as a zip in pieces.

        Raises:
            UserError: what `plan` and `run_plan` refuse.
        """
        with tempfile.TemporaryDirectory() as scratch:
            folder, packed = Path(scratch) / "run", Path(scratch) / "run.zip"
            run_plan(self.plan, folder, quiet=True, shard=Shard.parse(shard), threads=self._threads)
            with zipfile.ZipFile(packed, "w") as files:
                for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                    files.write(path, path.relative_to(folder))
            with open(packed, "rb") as f:
                while piece := f.read(PIECE):
                    yield piece
