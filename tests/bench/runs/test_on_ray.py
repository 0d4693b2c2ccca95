"""A plan's cells on the workers of a Ray cluster of this machine, one of which is killed."""

import sys
import zipfile
from pathlib import Path

import pytest
from many import measured

import bench
import samplers
from bench.machine.environment import code
from bench.runs import on_ray
from bench.runs.on_ray import HOME
from bench.runs.plan import make_plan
from samplers import UserError

pytest.importorskip("ray")

MORTAL = """
import os, pathlib, signal
from samplers import Card, Sampler

mark = pathlib.Path({mark!r})

class Mortal(Sampler):
    '''Kills its process the first time that it samples a batch.'''
    card = Card("mortal", "test", paper="", order=1)

    def sample(self, denoiser, noise, *, steps, labels=None):
        if len(noise) > 1 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        for _ in range(steps):
            image = denoiser(noise * denoiser.sigma_max, denoiser.sigma_max, labels)
        return image
"""


def test_two_workers_give_one_process_s_records(small, tmp_path, monkeypatch):
    """A cell whose worker is killed is measured by the next; what came home before an end is not measured again.

    The workers get the file of samplers, and the teacher of a folder of trainings.
    """
    monkeypatch.setattr("samplers.models.zoo._trained", [])
    mark, file = tmp_path / "killed", tmp_path / "plugins" / "mortals.py"
    file.parent.mkdir()
    file.write_text(MORTAL.replace("{mark!r}", repr(str(mark))))
    teacher, zoo = Path(small["teacher"]).stem, Path(small["teacher"]).parent
    plan = small | {"teacher": teacher, "samplers": ("ddim", "mortal"), "calls": (1, 3), "trajectory_images": 0}
    bench.run(out=tmp_path / "many", on="ray", quiet=True, zoo=zoo, plugin=file, **plan)
    assert mark.exists()
    bench.run(out=tmp_path / "one", quiet=True, **plan)  # by the same file and folder, which are known here
    assert measured(tmp_path / "many") == measured(tmp_path / "one")
    assert not (tmp_path / "many" / HOME).exists()
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # nobody is asked
    bench.run(out=tmp_path / "many", on="ray", quiet=True, **plan)


def test_files_come_home_whole_or_not_at_all(tmp_path):
    with zipfile.ZipFile(tmp_path / "sent.zip", "w") as files:
        files.writestr("samples/a.png", b"a" * 1000)
    content = (tmp_path / "sent.zip").read_bytes()
    pieces = [content[a : a + 100] for a in range(0, len(content), 100)]
    on_ray._unpack(pieces, tmp_path / "1")
    assert [p.name for p in tmp_path.glob("1*")] == ["1"]
    assert (tmp_path / "1" / "samples" / "a.png").read_bytes() == b"a" * 1000
    with pytest.raises(UserError, match="a worker was lost while it sent a cell's files; run again to go on"):
        on_ray._unpack([*pieces[:3], b"b" * 100, *pieces[4:]], tmp_path / "2")


def test_a_worker_that_cannot_do_as_this_process(small, tmp_path):
    given = (make_plan(**small).to_yaml(), 1)
    with pytest.raises(UserError, match="the cluster's workers have another version of bench"):
        next(on_ray.Worker(*given, "another", {}, []).measure("1/4"))
    with pytest.raises(UserError, match="no folder /nowhere to find cards in"):
        next(on_ray.Worker(*given, code(), {}, ["/nowhere"]).measure("1/4"))


def test_a_cluster_that_does_not_answer(small, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(UserError, match=r"no Ray at 127\.0\.0\.1:1 .*unset RAY_ADDRESS"):
        bench.run(out=tmp_path / "run", on="ray", quiet=True, **small)
    assert not (tmp_path / "run").exists()


def test_several_processes_on_a_cluster(small, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="start it without torchrun"):
        bench.run(out=tmp_path / "run", on="ray", quiet=True, **small)


def test_an_object_on_a_cluster(small, tmp_path):
    with pytest.raises(UserError, match="other processes have no objects of this one"):
        bench.run(out=tmp_path / "run", on="ray", quiet=True, **small | {"samplers": [samplers.get("ddim")]})


def test_without_the_package(small, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'sampler-bench\[ray\]'"):
        bench.run(out=tmp_path / "run", on="ray", quiet=True, **small)
