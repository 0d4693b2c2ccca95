"""Cells in mode compile: ready before they are timed, never compiled again, the images eager's."""

from pathlib import Path

import pytest
import torch
from run_folders import only, records

import bench
import bench.runs.run
import samplers.registry
from bench.instruments.modes import in_mode
from bench.runs import generating
from bench.runs.executor import Executor
from samplers import Card, Sampler, UserError


@pytest.mark.usefixtures("traced")
def test_compiled_cells_have_eager_s_counts_and_scores(small: dict, student: str, tmp_path: Path):
    options = small | {"samplers": ("ddpm", f"dsno:student={student}"), "calls": (2,)}
    bench.run(out=tmp_path / "eager", quiet=True, **options)
    bench.run(out=tmp_path / "compile", quiet=True, mode="compile", **options)
    eager, compiled = records(tmp_path / "eager"), records(tmp_path / "compile")
    assert [r["mode"] for r in compiled] == ["compile"] * 2
    for a, b in zip(eager, compiled, strict=True):
        assert b["status"] == "ok", b["error"]
        assert b["counted"] == a["counted"]
        for metric, values in a["quality"].items():
            assert b["quality"][metric]["value"] == pytest.approx(values["value"], rel=1e-4), metric
        assert a["time"]["overhead_fraction"] is not None
        assert b["time"]["overhead_fraction"] is None
        assert b["time"]["latency_ms"]["n"] == 3


def test_a_mode_that_fails_is_a_record_with_its_reason(one: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(module: torch.nn.Module, **_) -> None:
        raise RuntimeError("no compiler found")

    monkeypatch.setattr(torch.nn.Module, "compile", broken)
    bench.run(out=tmp_path / "run", quiet=True, mode="compile", **one)
    (r,) = records(tmp_path / "run")
    assert r["status"] == "failed"
    assert r["time"] is None
    assert r["counted"]["calls"] == 3
    assert "mode compile does not work here (no compiler found); use --mode eager" in r["error"]


def test_a_mode_is_ready_before_the_warm_up_and_nothing_is_compiled_after(
    one: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traced: list
):
    warm_ups = []

    def warm_up(once):
        before = len(traced)
        once()
        warm_ups.append((before, len(traced)))
        return {"repetitions": 1, "seconds": 0.0, "steady": False}

    held = []
    monkeypatch.setattr("bench.runs.executor.in_mode", lambda *args: held.append(len(args[3])) or in_mode(*args))
    monkeypatch.setattr("bench.runs.timing.warm_up", warm_up)
    monkeypatch.setattr("bench.runs.sweep.warm_up", warm_up)
    bench.run(out=tmp_path / "run", quiet=True, mode="compile", sweep=(1, 5), **one)
    only(tmp_path / "run")
    # One image and the batch before the first; one image again is there already; five are compiled for the sweep.
    assert warm_ups == [(2, 2), (2, 2), (3, 3)]
    assert len(traced) == 3
    assert held == [1, 16, 5], "each shape is held against eager once"


class Fickle(Sampler):
    """Calls its network with another number each time from the tenth pass on, for which it would be compiled anew."""

    card = Card("fickle", "fickle", "none", None, True, lambda n: 1)

    def __init__(self):
        class Net(torch.nn.Module):
            def forward(self, x: torch.Tensor, scale: float) -> torch.Tensor:
                return x * scale

        self.net, self.passes = Net(), 0

    def networks(self):
        return [self.net]

    def sample(self, denoiser, noise, *, steps, labels=None, callback=None):
        self.passes += 1
        return self.net(noise, 0.5 if self.passes < 15 else 1 / self.passes)


@pytest.mark.usefixtures("traced")
def test_a_network_that_recompiles_while_it_is_timed_fails_and_the_others_go_on(
    one: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    load = samplers.registry.load
    monkeypatch.setattr(samplers.registry, "load", lambda name: Fickle if name == "fickle" else load(name))
    monkeypatch.setattr("bench.runs.timing.warm_up", lambda once: {"repetitions": 1, "seconds": once()})
    options = one | {"samplers": ("fickle", "ddim"), "calls": (1,), "repetitions": 10}
    bench.run(out=tmp_path / "run", quiet=True, mode="compile", **options)
    found = {r["sampler"]: r for r in records(tmp_path / "run")}
    assert found["fickle"]["status"] == "failed"
    assert "ModeError: mode compile: a network had to be compiled again while it was measured" in found["fickle"]["error"]
    assert found["ddim"]["status"] == "ok"


@pytest.mark.usefixtures("traced")
def test_a_compiled_run_that_is_interrupted_goes_on(one: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    own, fill = Executor.sample, generating.fill

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(generating, "fill", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench.run(out=tmp_path / "run", quiet=True, mode="compile", **one)
    monkeypatch.setattr(generating, "fill", fill)
    sizes = []
    monkeypatch.setattr(Executor, "sample", lambda self, m, indices: sizes.append(len(indices)) or own(self, m, indices))
    bench.run(out=tmp_path / "run", quiet=True, mode="compile", **one)
    assert only(tmp_path / "run")["time"]["latency_ms"]["n"] == 3
    assert sizes == [16], "all was timed; the batch that is left is made, whole"


def test_graph_without_cuda_is_the_user_s_mistake(one: dict, tmp_path: Path):
    with pytest.raises(UserError, match="mode graph needs a CUDA device"):
        bench.run(out=tmp_path / "run", quiet=True, mode="graph", **one)
    assert not (tmp_path / "run").exists()
