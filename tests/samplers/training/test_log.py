"""The log of a training: each step told once, whatever interrupted it, and a rate that is the work's."""

import pytest
from changed import changed
from tiny_training import OPTIMISATION, KilledError, fails_at, kill, log, loss, train

from samplers.training.loop import WARMING


def test_log_tells_each_step_once(tmp_path):
    with pytest.raises(KilledError):
        train(tmp_path, loss=fails_at(14, kill), validate=lambda net: {"score": 1.5})
    train(tmp_path, validate=lambda net: {"score": 2.5})
    rows = log(tmp_path)
    assert [r["step"] for r in rows] == [6, 12, 18, 20]
    assert [r["score"] for r in rows] == [1.5, 1.5, 2.5, 2.5]
    assert all(r.keys() == {"step", "loss", "images_per_s", "seconds", "score"} for r in rows)


def test_log_drops_what_came_after_the_checkpoint(tmp_path):
    """A run killed long after its last checkpoint takes those steps again, and tells them once."""
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KilledError):
        train(tmp_path, loss=fails_at(10, kill))
    at_10 = path.read_bytes()
    with pytest.raises(KilledError):
        train(tmp_path, loss=fails_at(5, kill))
    assert [r["step"] for r in log(tmp_path)] == [6, 12]
    path.write_bytes(at_10)
    train(tmp_path)
    assert [r["step"] for r in log(tmp_path)] == [6, 12, 18, 20]


def test_log_line_cut_by_a_kill_is_dropped(tmp_path):
    with pytest.raises(KilledError):
        train(tmp_path, loss=fails_at(8, kill))
    with open(tmp_path / "log.jsonl", "a") as f:
        f.write('{"step": 7, "lo')
    train(tmp_path)
    assert [r["step"] for r in log(tmp_path)] == [6, 12, 18, 20]


def test_the_rate_leaves_out_the_first_updates(tmp_path, monkeypatch):
    """Ten of 100 seconds, in which networks are compiled, then ten of 2 seconds: 4 images/s, in the first row too."""
    clock = [0.0]

    def slow(net, generator, step):
        clock[0] += 100.0 if step < WARMING else 2.0
        return loss(net, generator)

    monkeypatch.setattr("samplers.training.loop.time.monotonic", lambda: clock[0])
    train(tmp_path, loss=slow, optimisation=changed(OPTIMISATION, validate_every=15))
    assert [row["images_per_s"] for row in log(tmp_path)] == [4.0, 4.0]
    assert log(tmp_path)[-1]["seconds"] == 1020
