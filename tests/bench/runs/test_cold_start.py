import json
from pathlib import Path

import pytest

from bench.commands.making import write_package
from bench.runs.cells import cells
from bench.runs.cold_start import between, cold_start
from bench.runs.plan import Plan
from samplers.models.zoo import add_zoo
from samplers.plugin import use_file


def plan(tiny: dict[str, str], **changes) -> Plan:
    return Plan(samplers=("ddim",), steps=(2,), **tiny, **changes)


def test_stages_follow_one_another():
    marks = {"load": 12.0, "compile": 15.0, "first_image": 15.5}
    assert between(10.0, marks) == {"load": 2.0, "compile": 3.0, "first_image": 0.5, "total": 5.5}
    assert between(10.0, {"load": 12.0, "first_image": 12.5}) == {
        "load": 2.0, "compile": None, "first_image": 0.5, "total": 2.5,
    }  # fmt: skip


def test_a_fresh_process_makes_an_image_from_any_folder(tiny: dict[str, str], tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    own = plan(tiny)
    found = cold_start(own, next(iter(cells(own))), "cpu", 1)
    assert found["load"] > 0
    assert found["first_image"] > 0
    assert found["compile"] is None


def test_a_process_that_fails_is_told_by_its_last_line(tiny: dict[str, str]):
    own = plan(tiny | {"teacher": "nowhere"})
    with pytest.raises(RuntimeError, match=r"cold start: the process ended with 1 \(.*unknown teacher 'nowhere'"):
        cold_start(own, next(iter(cells(own))), "cpu", 1)


def test_each_line_is_a_reading_of_the_clock_and_other_output_is_not(tiny: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    asked = {}

    class Process:
        returncode = 0
        stdout = ("a warning\n", "load\n", "\n", "compile\n", "first_image\n")

        def __init__(self, command, env, **_):
            asked.update(json.loads(command[-1]), caches=env["TORCHINDUCTOR_FORCE_DISABLE_CACHES"])

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("bench.runs.cold_start.subprocess.Popen", Process)
    ticks = iter([0.0, 2.0, 7.0, 7.5])
    own = plan(tiny, mode="compile")
    found = cold_start(own, next(iter(cells(own))), "cpu", 3, now=lambda: next(ticks))
    assert found == {"load": 2.0, "compile": 5.0, "first_image": 0.5, "total": 7.5}
    Process.returncode, ticks = 1, iter([0.0, 2.0, 7.0, 7.5])
    with pytest.raises(RuntimeError, match="ended with 1"):
        cold_start(own, next(iter(cells(own))), "cpu", 3, now=lambda: next(ticks))
    assert (asked["mode"], asked["threads"], asked["steps"], asked["caches"]) == ("compile", 3, 2, "1")


def test_the_process_finds_trainings_and_files_that_this_one_was_told_of(tiny, tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("samplers.models.zoo._trained", [])
    monkeypatch.setattr("samplers.plugin._used", {})
    add_zoo(Path(tiny["teacher"]).parent)
    (solver,) = (p for p in write_package("sampler", "of_cold_start", tmp_path) if p.name == "of_cold_start.py")
    use_file(solver)
    own = Plan(samplers=("of_cold_start",), steps=(2,), **tiny | {"teacher": "tiny"})
    assert cold_start(own, next(iter(cells(own))), "cpu", 1)["first_image"] > 0
