"""A plan's cells on the workers of a Ray cluster of this machine, one of which is killed."""

import sys

import pytest
from many import measured

import bench
from bench.runs.on_ray import HOME
from samplers import UserError

pytest.importorskip("ray")

MORTAL = """
import os, pathlib, signal
from samplers import Card, Sampler

class Mortal(Sampler):
    '''Kills its process the first time that it samples a batch.'''
    card = Card("mortal", "test", paper="", order=1)

    def sample(self, denoiser, noise, *, steps, labels=None):
        mark = pathlib.Path(__file__).with_name("killed")
        if len(noise) > 1 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        for _ in range(steps):
            image = denoiser(noise * denoiser.sigma_max, denoiser.sigma_max, labels)
        return image
"""


def test_two_workers_give_one_process_s_records(small, tmp_path, install, monkeypatch):
    """A cell whose worker is killed is measured by the next; what came home before an end is not measured again."""
    install("[bench.samplers]\nmortal = stranger_package:Mortal", MORTAL)
    monkeypatch.setenv("PYTHONPATH", ":".join(p for p in sys.path if p))
    plan = small | {"samplers": ("ddim", "mortal"), "calls": (1, 3), "trajectory_images": 0}
    bench.run(out=tmp_path / "many", on="ray", quiet=True, **plan)
    assert next(tmp_path.rglob("killed")).exists()
    bench.run(out=tmp_path / "one", quiet=True, **plan)
    assert measured(tmp_path / "many") == measured(tmp_path / "one")
    assert not (tmp_path / "many" / HOME).exists()
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # nobody is asked
    bench.run(out=tmp_path / "many", on="ray", quiet=True, **plan)


def test_a_cluster_that_does_not_answer(small, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(UserError, match=r"no Ray at 127\.0\.0\.1:1 .*unset RAY_ADDRESS"):
        bench.run(out=tmp_path / "run", on="ray", quiet=True, **small)
    assert not (tmp_path / "run").exists()


def test_without_the_package(small, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'sampler-bench\[ray\]'"):
        bench.run(out=tmp_path / "run", on="ray", quiet=True, **small)
