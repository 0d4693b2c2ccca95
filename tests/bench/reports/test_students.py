"""A trained sampler in a run: what its record and its report tell of it."""

import json
from pathlib import Path

import pytest
import torch

import bench
import bench.runs.run
import samplers
from bench.reports.report import write_report
from samplers import Cosine, UserError
from samplers.flops import flops
from samplers.solvers.euler import DDIM

CELL = "n1_b16_fp32_eager"


@pytest.fixture
def records(small: dict, student: str, tmp_path: Path) -> dict[str, dict]:
    bench.run(out=tmp_path / "run", quiet=True, **{**small, "samplers": (f"dsno:student={student}", "ddim"), "calls": (1,)})
    lines = (tmp_path / "run" / "records.jsonl").read_text().splitlines()
    return {r["sampler"].split(":")[0]: r for r in map(json.loads, lines)}


def test_its_record_tells_calls_forwards_student_and_training(records: dict[str, dict], student: str):
    r, card = records["dsno"], json.loads(Path(student).read_text())
    assert r["status"] == "ok"
    assert (r["counted"]["calls"], r["counted"]["forwards"]) == (1, 3)
    assert 3 < r["counted"]["teacher_equivalents"] < 4
    assert r["student"] == {"name": "tiny-dsno", "sha256": card["sha256"]}
    assert r["training"]["seconds"] == 60
    assert r["training"]["cost"]["teacher_forwards"] == 1000
    schedule = Cosine(0.01, 20.0)
    assert r["path"] == {"sigmas": [schedule.sigma(4 / 9), schedule.sigma(1 / 9), 0.0], "noises": 4}
    assert records["ddim"]["student"] is records["ddim"]["training"] is records["ddim"]["path"] is None


def test_the_report_shows_its_path_its_curve_and_its_cost(records: dict[str, dict], tmp_path: Path):
    report = write_report([tmp_path / "run"]).read_text()
    for picture in ("paths.png", "learning.png"):
        assert (tmp_path / "run" / "report" / picture).stat().st_size > 5000
        assert picture in report
    assert "What training the students took" in report
    assert "dsno:tiny-dsno" in report
    assert "training.curve" not in (tmp_path / "run" / "report" / "results.csv").read_text()


def test_it_is_not_scored_on_the_noises_it_was_trained_on(small: dict, student: str, tmp_path: Path):
    with pytest.raises(UserError, match="trained on the noises of seed 5"):
        bench.run(out=tmp_path / "run", quiet=True, **{**small, "samplers": (f"dsno:student={student}",), "seed": 5})
    assert not (tmp_path / "run" / "records.jsonl").exists()


def test_a_student_of_another_teacher_stops_the_run_before_it_measures(small: dict, student: str, tmp_path: Path):
    with pytest.raises(UserError, match="student of teacher tiny"):
        bench.run(out=tmp_path / "run", quiet=True, **{**small, "teacher": "mnist32", "extractor": "mnist",
                  "samplers": ("ddim", f"dsno:student={student}")})  # fmt: skip
    assert not (tmp_path / "run" / "records.jsonl").exists()


def test_all_skips_what_has_no_student_of_the_teacher(small: dict, tmp_path: Path):
    frame = bench.run(out=tmp_path / "run", quiet=True, **{**small, "samplers": ("all",), "calls": (1,), "images": 16})
    status = frame.set_index("sampler")["status"]
    trained = [n for n in samplers.names() if samplers.card(n).training]
    assert {"dsno", "knowledge_distillation", "progressive", "consistency", "consistency_training"} <= set(trained)
    assert (status[trained] == "skipped").all()
    assert "no dsno student of this teacher" in frame.set_index("sampler")["error"]["dsno"]
    assert (status.drop(trained) == "ok").all()
    assert "no dsno student" in write_report([tmp_path / "run"]).read_text()


def test_a_named_sampler_without_a_student_is_refused(small: dict, tmp_path: Path):
    with pytest.raises(UserError, match="no dsno student of this teacher"):
        bench.run(out=tmp_path / "run", quiet=True, **{**small, "samplers": ("ddim", "dsno")})


def test_steps_that_are_named_do_not_name_those_of_all(small: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def prepare(self, teacher, device, steps):
        if steps != 2:
            raise UserError(f"none of {steps} steps")

    monkeypatch.setattr(DDIM, "prepare", prepare)
    monkeypatch.setattr(samplers, "names", lambda: ["ddim"])
    asked = {**small, "samplers": ("all", "ddim@2"), "calls": (1,), "images": 16}
    frame = bench.run(out=tmp_path / "run", quiet=True, **asked)
    assert dict(zip(frame["steps"], frame["status"], strict=True)) == {1: "skipped", 2: "ok"}
    with pytest.raises(UserError, match="none of 1 steps"):
        bench.run(out=tmp_path / "other", quiet=True, **{**asked, "samplers": ("all", "ddim@1")})


def test_complex_products_count_four_times_a_real_one():
    a, b = torch.randn(3, 4, 5), torch.randn(3, 5, 6)
    assert flops(torch.bmm, a, b) == 2 * 3 * 4 * 5 * 6
    assert flops(torch.bmm, a.to(torch.cfloat), b.to(torch.cfloat)) == 8 * 3 * 4 * 5 * 6
    assert flops(torch.mm, a[0].to(torch.cfloat), b[0].to(torch.cfloat)) == 8 * 4 * 5 * 6
