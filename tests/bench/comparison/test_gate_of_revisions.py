"""The gate blocks a revision that is slower or other, and passes one that is neither. No time is measured here."""

import json
import random

import pytest
import torch
from revisions_fixture import edit

from bench.comparison import paired_worker
from bench.comparison.gate import decide
from bench.comparison.settings import ComparisonSettings
from bench.comparison.verdicts import PASS, REGRESSION
from samplers.operations import Operations

SETTINGS = ComparisonSettings(samplers=("ddim@4",), budget=600)


# A clock that counts: a microsecond for each operation, and noise as a busy machine makes


@pytest.fixture
def counted_time(monkeypatch):
    """Comparisons whose processes are run here, on made-up time that depends on the work alone."""
    threads, known, noise = torch.get_num_threads(), {}, random.Random(0)

    def timed(run) -> float:
        if id(run) not in known:
            with Operations() as work:
                run()
            known[id(run)] = 1e-6 * work.operators, run  # kept alive, so that no other gets its number
        burst = 3.0 if noise.random() < 0.1 else 1.0
        return known[id(run)][0] * burst * noise.lognormvariate(0, 0.03)

    def ask(request, out, k):
        return paired_worker.work(json.loads(json.dumps(request | {"seconds": 600.0})))

    monkeypatch.setattr(paired_worker, "timed", timed)
    monkeypatch.setattr("bench.comparison.revisions._ask", ask)
    yield
    torch.set_num_threads(threads)


def gate(folder, tmp_path, monkeypatch, judged=()):
    monkeypatch.chdir(folder)
    return decide("good", "working tree", SETTINGS, judged, None, tmp_path / "gate")


@pytest.mark.usefixtures("counted_time")
def test_a_clean_change_passes(changed, tmp_path, monkeypatch):
    edit(changed, "samplers/models/scaling.py", "f = network(", "f = network(  # as before\n            ")
    found = gate(changed, tmp_path, monkeypatch)
    assert found.code == PASS
    assert found.line == "gate: pass"


@pytest.mark.usefixtures("counted_time")
def test_a_seeded_slowdown_is_blocked_by_time_alone(changed, tmp_path, monkeypatch):
    """Twenty operations more a call: no count of calls, no image tells of it."""
    edit(
        changed,
        "samplers/models/scaling.py",
        "f = network(",
        "[x + 0 for _ in range(20)]\n        f = network(",
    )
    found = gate(changed, tmp_path, monkeypatch, ("time", "calls", "images"))
    assert found.code == REGRESSION
    assert "gate: regression: ddim@4 time slower (judged by time, calls, images alone)" in found.line
    kept = json.loads((tmp_path / "gate" / "comparison.json").read_text())
    (row,) = [r for r in kept["rows"] if r["quantity"] == "time"]
    assert row["data"]["processes"][0]["ratio"] > 1.05


@pytest.mark.usefixtures("counted_time")
@pytest.mark.parametrize(
    "spoil",
    [
        ("samplers/models/scaling.py", "f = network(", "assert len(x) != 1, 'alone'\n        f = network("),
        ("samplers/solvers/euler.py", "return euler_step(x, denoised, s, t)", "raise RuntimeError('no')"),
    ],
    ids=["at batch 1", "always"],
)
@pytest.mark.usefixtures("counted_time")
def test_a_sampler_that_raises_now_is_a_regression(changed, tmp_path, monkeypatch, spoil):
    edit(changed, *spoil)
    found = gate(changed, tmp_path, monkeypatch)
    assert found.code == REGRESSION
    assert "ddim@4 sampler wrong" in found.line
    assert (tmp_path / "gate" / "comparison.json").exists()


@pytest.mark.usefixtures("counted_time")
def test_faster_because_wrong_is_blocked(changed, tmp_path, monkeypatch):
    edit(changed, "samplers/solvers/euler.py", "return euler_step(x, denoised, s, t)", "return denoised")
    found = gate(changed, tmp_path, monkeypatch, ("time", "images"))
    assert found.code == REGRESSION
    assert "ddim@4 images wrong" in found.line


@pytest.mark.usefixtures("counted_time")
@pytest.mark.parametrize(
    "spoil",
    ["return euler_step(x, denoised, s, t) * float('nan')", "return euler_step(x, denoised, s, t) / (len(x) - 1)"],
    ids=["always", "at batch 1"],
)
def test_seeded_nan_is_blocked_whatever_is_judged(changed, tmp_path, monkeypatch, spoil):
    edit(changed, "samplers/solvers/euler.py", "return euler_step(x, denoised, s, t)", spoil)
    for judged in ((), ("time",)):
        found = gate(changed, tmp_path, monkeypatch, judged)
        assert found.code == REGRESSION
        assert "not finite (NaN or infinity)" in str(found.document())
