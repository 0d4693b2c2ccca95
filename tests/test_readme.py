"""README and docs quote the committed records, which are of what ships."""

import json
from pathlib import Path

import pytest

import samplers
from bench.commands.reference import names
from bench.comparison import calibration_page
from bench.presentation import markdown
from bench.profiling import page
from bench.records.frame import load_records
from bench.runs.cells import cells
from bench.runs.plan import make_plan
from samplers.files import read_rows

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "mnist32-cpu"
CIFAR = ROOT / "results" / "cifar10-cpu"
ABLATIONS = ROOT / "results" / "mnist32-ablations"
DEMO = ROOT / "results" / "demo"


QUOTED = {
    "README.md": ("results of mnist32-cpu", "summary of demo"),
    "docs/mnist32.md": (
        "answer of mnist32-cpu",
        "summary of mnist32-cpu",
        "students of mnist32-cpu",
        "break-even of mnist32-cpu",
    ),
    "docs/dsno.md": (
        "table of mnist32-dsno",
        "output of python -m dsno.ablations.table results/mnist32-ablations",
        "profile of mnist32-dsno/profile",
        "profile of mnist32-gpu/profile/graph",
    ),
    "docs/cifar10.md": (
        "summary of cifar10-cpu",
        "training of cifar10-small",
        "training of cifar10-lite",
        "profile of cifar10-cpu/profile",
    ),
    "docs/gate.md": ("calibration of gate-calibration",),
    "docs/samplers.md": ("answer of mnist32-grids",),
    "docs/teachers.md": ("summary of ddpm-mnist32",),
}
"""What each page must quote of the records; that it is current is tests/bench/commands/test_reference.py's."""
FIGURES = {
    "README.md": ("mnist32-cpu/report/story.png", "mnist32-neighbours/report/libraries.png"),
    "docs/samplers.md": ("mnist32-neighbours/report/libraries.png",),
    "docs/mnist32.md": [f"mnist32-cpu/report/{name}.png" for name in ("story", "trajectory_error", "samples")],
    "docs/dsno.md": [f"mnist32-dsno/{name}.png" for name in ("report/paths", "report/learning", "profile/profile")],
    "docs/cifar10.md": [f"cifar10-cpu/report/{name}.png" for name in ("story", "samples", "learning")],
    "docs/gate.md": ("gate-calibration/calibration.png",),
}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", QUOTED)
def test_a_page_quotes_the_records(page: str):
    assert set(QUOTED[page]) <= set(names((ROOT / page).read_text()))


@pytest.mark.parametrize("page", FIGURES)
def test_a_page_s_figures_are_the_report_s(page: str):
    for name in FIGURES[page]:
        assert f"results/{name})" in (ROOT / page).read_text()
        assert (ROOT / "results" / name).stat().st_size > 0


def _shipped() -> set[str]:
    """Hashes of the students that ship."""
    zoos = (ROOT / package / "zoo" for package in ("samplers/distilled", "dsno"))
    return {json.loads(path.read_text())["sha256"] for zoo in zoos for path in zoo.glob("*.json")}


def test_the_run_s_samplers_are_installed_and_every_shipped_student_is_in_it():
    records, cifar = load_records([RESULTS]), load_records([CIFAR])
    assert {name.partition(":")[0] for name in records["sampler"]} <= set(samplers.names())
    assert _shipped() <= set(records["student.sha256"]) | set(cifar["student.sha256"])


def test_the_ladder_s_students_are_the_records():
    records = load_records([RESULTS])
    scored = records[(records["family"] == "progressive") & (records["status"] == "ok")]
    assert set(scored["steps"]) == {1, 2, 4, 8}
    rungs = {r["steps"]: r["sha256"] for r in json.loads((RESULTS / "ladder.json").read_text())["rungs"]}
    assert all(rungs[steps] == student for steps, student in zip(scored["steps"], scored["student.sha256"], strict=True))


@pytest.mark.parametrize(
    "folder", [p.parent for p in sorted((ROOT / "results").rglob("profile.json"))], ids=lambda f: f.parent.name + "-" + f.name
)
def test_a_profile_s_page_is_of_what_was_measured(folder: Path):
    result = json.loads((folder / "profile.json").read_text())
    assert (folder / "profile.md").read_text() == markdown.render(page.document(result))


def test_every_ablation_was_scored():
    students = {s["sha256"] for s in json.loads((ABLATIONS / "ablations.json").read_text())["students"]}
    assert students == set(load_records([ABLATIONS])["student.sha256"])


def test_the_calibration_is_the_recorded_one():
    folder = ROOT / "results" / "gate-calibration"
    trials = read_rows(folder / "trials.jsonl")
    assert len(trials) >= 100
    setting = json.loads((folder / "setting.json").read_text())
    page = calibration_page.document(trials, setting, calibration_page.slowdowns(trials))
    assert (folder / "calibration.md").read_text() == markdown.render(page)
    assert max(t["seconds"] for t in trials) < 60


def test_shipped_weights_stay_small():
    found = [p for folder in ("bench", "dsno", "results", "samplers") for p in (ROOT / folder).rglob("*.safetensors")]
    assert sum(p.stat().st_size for p in found) < 40e6
    assert sum(p.stat().st_size for p in found if "cifar10" in p.name) < 20e6


def test_the_demo_s_records_are_of_the_plan_and_the_students_that_ship():
    frame, plan = load_records([DEMO]), make_plan("demo")
    assert set(frame["cell"]) == {cell.id for cell in cells(plan)}
    assert (frame["images"] == plan.images).all()
    assert set(frame["student.sha256"].dropna()) <= _shipped()


def test_the_run_is_at_full_scale():
    frame = load_records([RESULTS])
    assert set(frame["status"]) == {"ok"}
    assert frame["images"].min() >= 2500
    assert frame["counted.calls"].min() == 1
    assert frame["counted.calls"].max() == 50
