"""One run in several processes: the records of one, whoever dies and however many go on."""

from pathlib import Path

import pytest
import yaml
from many import measured
from processes import exit_code, in_processes

import bench

RUN = """
import os
from pathlib import Path
import bench.quality.trajectory as t
import bench.runs.energy as e
t.STEPS, e.energy_counter = 8, lambda device: None
from bench.runs.plan import make_plan
from bench.runs.run import run_plan
from samplers import UserError
rank = int(os.environ["RANK"])
"""
GO = """
from bench.runs.progress import Display
shown = []
advance, rest = Display.advance, Display.rest
Display.rest = lambda self, forwards: (shown.clear(), shown.append(-forwards), rest(self, forwards))
Display.advance = lambda self, forwards: (shown.append(forwards), advance(self, forwards))
try:
    run_plan(make_plan("plan.yaml"), Path("many"), quiet=True)
except UserError as e:
    Path(f"error-{rank}").write_text(str(e))
    raise SystemExit(2)
Path(f"bar-{rank}").write_text(str(sum(shown)))
"""


@pytest.fixture
def plan(small: dict, tmp_path: Path) -> dict:
    told = {k: list(v) if isinstance(v, tuple) else v for k, v in small.items()}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(told))
    return small


@pytest.mark.parametrize("size", [2, 4])
def test_many_processes_give_one_s_records(plan, tmp_path, size):
    bench.run(out=tmp_path / "one", quiet=True, **plan)
    processes = in_processes(RUN + GO, tmp_path, size)
    assert [exit_code(p) for p in processes] == [0] * size
    assert measured(tmp_path / "many") == measured(tmp_path / "one")
    assert not (tmp_path / "many" / "partial").exists()
    assert 0 <= int((tmp_path / "bar-0").read_text()) < 64  # the first one's bar ends with the batches of all, whole ones


def test_a_process_that_dies_ends_the_run_and_others_go_on(plan, tmp_path):
    """The second one is killed in its second batch; four go on where there were two."""
    dies = """
import signal
from bench.runs.executor import Executor
sample, made = Executor.sample, []
def killed(self, m, indices):
    made.append(indices)
    if len(made) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return sample(self, m, indices)
if rank == 1:
    Executor.sample = killed
"""
    processes = in_processes(RUN + dies + GO, tmp_path)
    assert [exit_code(p) for p in processes] == [2, -9]
    assert (tmp_path / "error-0").read_text().startswith("a process of this command has ended; run it again")
    assert list((tmp_path / "many" / "partial").iterdir())
    assert [exit_code(p) for p in in_processes(RUN + GO, tmp_path, 4)] == [0] * 4
    bench.run(out=tmp_path / "one", quiet=True, **plan)
    assert measured(tmp_path / "many") == measured(tmp_path / "one")


@pytest.mark.parametrize(
    ("size", "change", "said"),
    [
        (
            2,
            "import bench.runs.ranks as r; r.code = lambda: rank",
            "process 1 has another code than process 0; start all alike",
        ),
        (
            2,
            "own = make_plan; make_plan = lambda name: own(name, seed=rank)",
            "process 1 has another plan than process 0; start all alike",
        ),
        (
            2,
            "import bench.runs.ranks as r; f = Path(f'{rank}.py'); f.write_text(f'{rank}'); r.used_files = lambda: [f]",
            "process 1 has another plug-in than process 0; start all alike",
        ),
        (
            2,
            "import bench.runs.run as r; r.Session = r.Session if rank == 0 else lambda *a, **k: exec('raise UserError(1)')",
            "1",
        ),
        (5, "", "5 processes for 4 batches of images; start at most 4, or lower --batch-size"),
    ],
)
def test_processes_that_cannot_share_a_run(plan, tmp_path, size, change, said):
    found = [exit_code(p) for p in in_processes(f"{RUN}{change}{GO}", tmp_path, size)]
    assert found == [2] * size
    assert said in (tmp_path / "error-0").read_text()
    assert len(list(tmp_path.glob("error-*"))) == 1  # one line in all
    assert not (tmp_path / "many").exists()
