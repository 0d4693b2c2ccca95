"""Whole runs of other teachers than ours: of no network, of latents, guided, without an extractor that fits."""

import json

import numpy as np
import pytest
from command import call
from PIL import Image

import bench
from bench.reports.report import write_report

TEACHER = """
import torch
from samplers import Power, Teacher
from samplers.analytic import Gaussian

def gaussian():
    pixels = torch.linspace(0, 6, 64).reshape(1, 8, 8)
    found = Gaussian(pixels.sin() / 2, 0.1 + pixels.cos() ** 2, 0.01, 20.0)
    found.schedule = Power(0.01, 20.0)
    return found

def flipped():
    found = gaussian()
    found.__class__, found.name = Flipped, "flipped"
    return found

class Flipped(Gaussian):
    def __call__(self, x, sigma, labels=None):
        return 2 * x - super().__call__(x, sigma)

class Latent(Teacher):
    def __init__(self):
        pixels = torch.linspace(0, 6, 16).reshape(4, 2, 2)
        self.exact = Gaussian(pixels.sin() / 2, 0.1 + pixels.cos() ** 2, 0.01, 20.0)
        super().__init__("latents", (4, 2, 2), 3, Power(0.01, 20.0))
        self.image_shape, self.unconditional = (1, 8, 8), False

    def forward(self, x, sigma, labels=None):
        assert labels is not None
        return self.exact(x, sigma)

    def networks(self):
        return []

    def decode(self, x):
        return x.reshape(-1, 1, 4, 4).repeat_interleave(2, 2).repeat_interleave(2, 3)

class Noted(Latent):
    def __init__(self):
        super().__init__()
        self.card["note"] = "its last noise level, infinity, is left out"

class Large(Latent):
    def decode(self, x):
        if len(x) > 15:
            raise MemoryError("a batch is too large")
        return super().decode(x)

class Wrong(Latent):
    def decode(self, x):
        return x

class Undecoded(Latent):
    def __init__(self):
        super().__init__()
        self.image_shape = None

    def decode(self, x):
        raise AssertionError("it has no decoder")
"""


def test_a_run(small: dict, tmp_path, monkeypatch):
    (tmp_path / "analytic_teacher.py").write_text(TEACHER)
    monkeypatch.chdir(tmp_path)
    options = small | {"teacher": "python:analytic_teacher:gaussian", "samplers": ("ddim", "heun", "deis"), "calls": (5,)}
    frame = bench.run(out=tmp_path / "run", quiet=True, **options).set_index("sampler")
    assert set(frame["status"]) == {"ok"}, list(frame["error"])
    assert (frame["counted.calls"] == 5).all()
    assert (frame["counted.forwards"] == 5).all()
    assert set(frame["teacher.name"]) == {"analytic_teacher:gaussian"}
    assert frame["teacher.sha256"].isna().all()
    assert not list((tmp_path / "cache").glob("*")), "nothing tells its solutions from another's"
    assert (frame["quality.trajectory_error.value"] > 0).all()


@pytest.mark.parametrize("name", ["dsno", "progressive"])
def test_it_has_no_students(small: dict, tmp_path, monkeypatch, name):
    (tmp_path / "analytic_teacher.py").write_text(TEACHER)
    monkeypatch.chdir(tmp_path)
    options = small | {"teacher": "python:analytic_teacher:gaussian", "samplers": (name,), "calls": (1,)}
    with pytest.raises(bench.UserError, match=f"no {name} student of this teacher"):
        bench.run(out=tmp_path / "run", quiet=True, **options)


@pytest.fixture
def python(tmp_path, monkeypatch) -> str:
    (tmp_path / "analytic_teacher.py").write_text(TEACHER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "analytic_teacher", raising=False)
    return "python:analytic_teacher"


@pytest.mark.parametrize("asked", [{"metrics": ("none",)}, {}], ids=["none asked for", "none that fits"])
def test_without_an_extractor_counts_times_and_errors_are_left(small: dict, python, tmp_path, asked):
    """And only the images that are held against the solution are made."""
    del small["extractor"]
    options = small | {"teacher": f"{python}:gaussian", "samplers": ("ddim", "ddpm"), "calls": (5,), "images": 500} | asked
    frame = bench.run(out=tmp_path / "run", quiet=True, **options).set_index("sampler")
    assert set(frame["status"]) == {"ok"}, list(frame["error"])
    assert frame["quality.trajectory_error.n"]["ddim"] == 6
    assert frame["time.latency_ms.median"].notna().all()
    assert not [c for c in frame if c.startswith("quality.fd")]
    text = write_report([tmp_path / "run"]).read_text()
    assert "no sampler can be called best" in text
    with pytest.raises(bench.UserError, match="no extractor was trained on the data of teacher"):
        bench.run(out=tmp_path / "other", quiet=True, **options | {"metrics": ("fd", "kid")})


def test_what_speaks_against_a_teacher_is_told_and_it_is_measured(small: dict, python, tmp_path, monkeypatch, capsys):
    options = small | {"metrics": ("none",), "samplers": ("ddim",), "calls": (2,), "trajectory_images": 0}
    for name, told in (("gaussian", False), ("flipped", True)):
        bench.run(out=tmp_path / name, **options | {"teacher": f"{python}:{name}"})
        assert ("teacher 'flipped' is doubtful: from pure noise" in capsys.readouterr().err) is told
    code, out, _ = call(
        monkeypatch, capsys, "doctor", "--device", "cpu", "--teacher", f"{python}:flipped", "--out", "facts.json"
    )
    assert code == 0
    assert "**doubt**: from pure noise at its highest level, 20" in out
    found = json.loads((tmp_path / "facts.json").read_text())
    assert (found["states"], found["flops"], found["parameters"], len(found["doubts"])) == ([1, 8, 8], 0, 0, 2)
    assert all(s > 0 for s in found["seconds"].values())
    assert found["decode_seconds"] is None


def test_latents_are_compared_and_their_images_scored(small: dict, python, tmp_path):
    options = small | {"teacher": f"{python}:Latent", "samplers": ("ddim", "heun"), "calls": (5,), "trajectory_images": 4}
    frame = bench.run(out=tmp_path / "run", quiet=True, **options).set_index("sampler")
    assert set(frame["status"]) == {"ok"}, list(frame["error"])
    assert frame["quality.fd_tinyfeatures.value"].notna().all()
    assert (frame["quality.trajectory_error.value"] > 0).all()
    sampling, decode, both = (
        frame[f"time.{c}"] for c in ("latency_ms.median", "decode.latency_ms.median", "decode.total_latency_ms")
    )
    assert np.allclose(both, sampling + decode)
    rates = (frame[f"time.{c}"] for c in ("images_per_s.median", "decode.images_per_s.median", "decode.total_images_per_s"))
    sampling, decode, both = (1 / rate for rate in rates)
    assert np.allclose(both, sampling + decode, rtol=1e-6)
    for picture in (tmp_path / "run" / "samples").glob("*.png"):
        assert Image.open(picture).size[1] == 8
    assert "Sampling latents, decoding them, and both" in write_report([tmp_path / "run"]).read_text()
    row = bench.run(out=tmp_path / "large", quiet=True, **options | {"teacher": f"{python}:Large"}).iloc[0]
    assert (row["status"], row["error"]) == ("failed", "MemoryError: a batch is too large")
    with pytest.raises(bench.UserError, match=r"it decodes images \[4, 2, 2\], and says \[1, 8, 8\].*its author must mend it"):
        bench.run(out=tmp_path / "wrong", quiet=True, **options | {"teacher": f"{python}:Wrong"})
    with pytest.raises(bench.UserError, match="teacher 'latents' needs a class for each image; ask for --labels balanced"):
        bench.run(out=tmp_path / "other", quiet=True, **options | {"labels": "none"})


def test_labels_that_were_asked_for_need_classes(small: dict, python, tmp_path):
    options = small | {"teacher": f"{python}:gaussian", "samplers": ("ddim",), "calls": (2,)}
    with pytest.raises(bench.UserError, match="'analytic_teacher:gaussian' has no classes; leave out --labels"):
        bench.run(out=tmp_path / "run", quiet=True, labels="balanced", **options)
    assert not (tmp_path / "run" / "records.jsonl").exists()


def test_what_is_left_out_of_a_teacher_is_said_recorded_and_reported(small: dict, python, tmp_path, capsys):
    options = small | {"samplers": ("ddim",), "calls": (2,), "trajectory_images": 0}
    row = bench.run(out=tmp_path / "run", **options | {"teacher": f"{python}:Noted"}).iloc[0]
    assert "teacher 'latents': its last noise level, infinity, is left out" in capsys.readouterr().err
    assert row["teacher.note"] == "its last noise level, infinity, is left out"
    assert "Of teacher latents: its last noise level, infinity, is left out." in write_report([tmp_path / "run"]).read_text()
    assert "teacher.note" not in bench.run(out=tmp_path / "other", quiet=True, **options | {"teacher": f"{python}:Latent"})


def test_latents_that_cannot_be_decoded_are_compared_and_timed(small: dict, python, tmp_path):
    del small["extractor"]
    options = small | {"teacher": f"{python}:Undecoded", "samplers": ("heun",), "calls": (5,), "trajectory_images": 4}
    row = bench.run(out=tmp_path / "run", quiet=True, **options).iloc[0]
    assert row["status"] == "ok", row["error"]
    assert row["quality.trajectory_error.value"] > 0
    assert "time.decode.latency_ms.median" not in row
    assert "decoding" not in write_report([tmp_path / "run"]).read_text()
    with pytest.raises(bench.UserError, match="'latents' cannot decode its latents"):
        bench.run(out=tmp_path / "other", quiet=True, **options | {"extractor": "mnist"})


def test_guidance_is_counted_against_the_bare_teacher(one: dict, tmp_path):
    run = {c: bench.run(out=tmp_path / str(c), quiet=True, **one, guidance=2.0, guidance_calls=c).iloc[0] for c in (1, 2)}
    bare = bench.run(out=tmp_path / "bare", quiet=True, **one).iloc[0]
    for calls, row in run.items():
        assert row["status"] == "ok", row["error"]
        assert (row["counted.calls"], row["counted.forwards"]) == (3 * calls, 6)
        assert row["counted.teacher_equivalents"] == pytest.approx(6, rel=1e-3)
        assert row["teacher.name"] == "tiny, guidance 2"
    found = [r["quality.trajectory_error.value"] for r in run.values()]
    assert found[0] == pytest.approx(found[1], rel=1e-3)
    assert bare["counted.teacher_equivalents"] == 3
    assert bare["teacher.sha256"] != run[1]["teacher.sha256"] == run[2]["teacher.sha256"]
    with pytest.raises(bench.UserError, match="needs a class for each image"):
        bench.run(out=tmp_path / "none", quiet=True, **one, guidance=2.0, labels="none")
    with pytest.raises(bench.UserError, match="guide needs a weight"):
        bench.run(out=tmp_path / "guide", quiet=True, **one, guide="mnist32")
