import csv
import itertools
import json
import sys
import time
from pathlib import Path

import pytest
import torch

import bench
import samplers
from bench.cli import main
from bench.instruments.clock import Clock
from bench.machine.threads import Choice
from bench.presentation import markdown
from bench.profiling.page import document, doubts, draw, headline, write_profile
from bench.profiling.profiler import Profiler, Silent
from bench.profiling.settings import ProfileSettings
from samplers import UserError

CPU = torch.device("cpu")


def setting(tiny: dict[str, str], student: str, **changes) -> ProfileSettings:
    given = {"sampler": f"dsno:student={student}", "teacher": tiny["teacher"], "batch_sizes": (1, 4), "repetitions": 6}
    return ProfileSettings(**{**given, "threads": 1, **changes})


@pytest.fixture(scope="module")
def result(tiny: dict[str, str], student: str) -> dict:
    return Profiler(setting(tiny, student), CPU).measure()


def test_a_pass_is_counted_and_held_against_forwards(result: dict):
    assert (result["counted"]["calls"], result["counted"]["forwards"]) == (1, 3)
    assert result["clock"].startswith("CPU timer")
    assert [b["batch_size"] for b in result["batches"]] == [1, 4]
    for b in result["batches"]:
        assert b["ms"]["n"] == b["ratio_to_m_forwards"]["n"] == 6
        # A ratio is of the same round, so its median is near the ratio of the medians, not equal to it.
        assert b["ratio_to_one_forward"]["median"] == pytest.approx(
            b["ms"]["median"] / b["teacher_forward_ms"]["median"], rel=0.5
        )
        assert b["flops_per_s"] == pytest.approx(
            result["counted"]["flops_per_image"] * b["batch_size"] / (b["ms"]["median"] * 1e-3), rel=1e-6
        )
        assert b["share_of_matrix_rate"] == pytest.approx(b["flops_per_s"] / result["matrix_flops_per_s"])


class Ticks(Clock):
    """A clock that counts its own readings: every stretch is as long as the marks in it."""

    def __init__(self):
        super().__init__(CPU)
        self._readings = itertools.count()

    def _mark(self) -> int:
        return next(self._readings)


def test_stages_are_parts_of_the_pass(tiny: dict[str, str], student: str):
    profiler = Profiler(setting(tiny, student), CPU)
    profiler.clock = Ticks()
    own = {s["stage"]: s for s in profiler._stages(4, 3)}
    assert {"input convolution", "temporal layers", "attention", "output", "everything else"} <= own.keys()
    assert all(s["ms"]["median"] >= 0 for s in own.values())
    assert sum(s["share"] for s in own.values()) == pytest.approx(1)


def test_a_stage_s_time_is_its_modules_time(tiny: dict[str, str], student: str):
    """A layer that waits shows as the share of its stage."""
    profiler = Profiler(setting(tiny, student), CPU)
    layer = profiler.stages["temporal layers"][0]
    original = layer.forward

    def slow(*args, **kwargs):
        time.sleep(0.05)
        return original(*args, **kwargs)

    layer.forward = slow
    rows = {s["stage"]: s for s in profiler._stages(1, 3)}
    assert rows["temporal layers"]["ms"]["median"] >= 50
    assert rows["temporal layers"]["share"] > 0.5


def test_the_folder_has_page_tables_figure_and_json(result: dict, tmp_path: Path):
    page = write_profile(result, tmp_path / "profile").read_text()
    assert "Stages at batch 4" in page
    assert "CPU timer" in page
    assert json.loads((tmp_path / "profile" / "profile.json").read_text()) == json.loads(json.dumps(result))
    with open(tmp_path / "profile" / "stages.csv") as f:
        assert len(list(csv.DictReader(f))) == len(result["stages"])
    assert (tmp_path / "profile" / "profile.png").stat().st_size > 5000


def test_ticks_of_batch_sizes_are_measured_values(result: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    drawn = []
    monkeypatch.setattr("bench.presentation.looks.save", lambda figure, path: drawn.append(figure))
    draw(result, tmp_path / "profile.png")
    assert list(drawn[0].axes[-1].get_xticks()) == [1, 4]


def test_a_chrome_trace_on_request(tiny: dict[str, str], student: str, tmp_path: Path):
    Profiler(setting(tiny, student), CPU).trace(tmp_path / "deep" / "trace.json", 1)
    assert json.loads((tmp_path / "deep" / "trace.json").read_text())["traceEvents"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"mode": "graph"}, "CUDA"),
        ({"mode": "grap"}, "graph"),
        ({"batch_sizes": (4, 1)}, "increasing"),
        ({"repetitions": 3}, "at least 6"),
        ({"sampler": "ddim"}, "carries no network"),
    ],
)
def test_misuse_is_one_line(tiny: dict[str, str], student: str, changes: dict, word: str):
    with pytest.raises(UserError, match=word):
        Profiler(setting(tiny, student, **changes), CPU)


class Counted(Silent):
    """Counts the forwards that it is told of."""

    total, done, seen = 0, 0, ()

    def now(self, what: str) -> None:
        self.seen = (*self.seen, what)

    def rest(self, forwards: int) -> None:
        self.total = forwards

    def advance(self, forwards: int) -> None:
        self.done += forwards


def test_progress_ends_where_it_was_said_to(tiny: dict[str, str], student: str):
    display = Counted()
    Profiler(setting(tiny, student), CPU, display).measure()
    assert display.done == display.total > 0
    assert display.seen == ("matrix rate", "stages at batch 1", "stages at batch 4", "batch 1, 1 of 2", "batch 4, 2 of 2")


def test_a_profile_that_was_disturbed_says_so(result: dict, tmp_path: Path):
    calm = json.loads(json.dumps(result)) | {"conditions": {"valid": True, "reasons": []}, "threads": 2}
    for batch in calm["batches"]:  # times that agree, whatever this machine did
        batch["ms"]["median"] = sum(s["ms"]["median"] for s in calm["stages"] if s["batch_size"] == batch["batch_size"])
    assert doubts(calm) == []
    assert "believed" not in markdown.render([*headline(calm), *document(calm)])
    busy = calm | {"conditions": {"valid": False, "reasons": ["other processes used 2.00 of 2 cores"]}}
    busy["batches"] = [b | {"ms": b["ms"] | {"median": b["ms"]["median"] / 4}} for b in calm["batches"]]
    told = doubts(busy)
    assert told[0] == "something disturbed the machine while it was timed (other processes used 2.00 of 2 cores)"
    assert told[1] == "the stages at batch 1 add up to 4 times the pass that was timed on its own"
    assert told[-1] == "stop what else runs here, or leave it a core (--threads 1), and profile again"
    assert "**Not to be believed**" in write_profile(busy, tmp_path).read_text()


def test_threads_are_chosen_by_a_measurement_unless_they_are_given(
    tiny: dict[str, str], student: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bench.profiling.profiler.choose_threads", lambda work: (work(), Choice(1, "threads: 1"))[1])
    said: list[str] = []
    display = Counted()
    display.say = said.append  # type: ignore[method-assign]
    Profiler(setting(tiny, student), CPU, display)
    assert said == []
    Profiler(setting(tiny, student, threads="auto"), CPU, display)
    assert said == ["threads: 1"]


def test_the_command_writes_its_page(
    tiny: dict[str, str], student: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    spec = ["profile", f"dsno:student={student}", "--teacher", tiny["teacher"], "--batch-sizes", "1", "--repetitions", "6"]
    monkeypatch.setattr(sys, "argv", ["bench", *spec, "--out", str(tmp_path / "p"), "--quiet"])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    assert (tmp_path / "p" / "profile.md").exists()
    out = capsys.readouterr().out
    assert "| batch | ms a pass |" in out
    assert "| temporal layers |" in out
    assert out.endswith(f"profile: {tmp_path / 'p' / 'profile.md'}\n")


def test_a_mode_whose_images_differ_is_refused(tiny: dict[str, str], student: str, monkeypatch: pytest.MonkeyPatch):
    def compile_wrongly(module: torch.nn.Module, **_) -> None:
        module.register_forward_hook(lambda _, __, images: images + 0.01)

    monkeypatch.setattr(torch.nn.Module, "compile", compile_wrongly)
    profiler = Profiler(setting(tiny, student, mode="compile"), CPU)
    with pytest.raises(UserError, match=r"differ from eager's by 0\.01"):
        profiler.runner(1)


def test_objects_stand_where_names_do(tiny: dict[str, str], student: str, tmp_path: Path):
    sampler, teacher = samplers.get(f"dsno:student={student}"), samplers.load_teacher(tiny["teacher"])
    found = bench.profile(
        sampler, teacher=teacher, batch_sizes=[1], repetitions=6, threads=1, device="cpu", out=tmp_path / "p", quiet=True
    )
    assert found["sampler"] == "dsno.sampler:DSNOSampler"
    assert found["teacher"]["sha256"] == teacher.sha256
    assert json.loads((tmp_path / "p" / "profile.json").read_text())["counted"]["forwards"] == 3
    told = bench.doctor(teacher, device="cpu", quiet=True)
    assert (told["sha256"], told["states"]) == (teacher.sha256, list(teacher.shape))
