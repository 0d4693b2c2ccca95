"""The README's numbers are those of the committed records."""

import json
from pathlib import Path

import pytest

import samplers
from bench.comparison import calibration_page
from bench.presentation import markdown
from bench.profiling import page
from bench.records.frame import load_records
from bench.reports.sections import sections
from bench.reports.tables import main_tables, summary_table
from dsno.ablations.table import ablations_table
from samplers.files import read_rows

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "mnist32-cpu"
CIFAR = ROOT / "results" / "cifar10-cpu"
DSNO, ABLATIONS = ROOT / "results" / "mnist32-dsno", ROOT / "results" / "mnist32-ablations"
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("folder", [RESULTS, CIFAR], ids=lambda f: f.name)
def test_the_table_is_the_records(folder: Path):
    (section,) = sections(load_records([folder]))
    assert markdown.render([summary_table(section)]) in README


@pytest.mark.parametrize("name", ["story.png", "trajectory_error.png", "samples.png"])
def test_its_figures_are_the_report_s(name: str):
    assert f"results/mnist32-cpu/report/{name}" in README
    assert (RESULTS / "report" / name).stat().st_size > 0


@pytest.mark.parametrize("name", ["story.png", "samples.png", "learning.png"])
def test_the_figures_of_cifar_10_are_the_report_s(name: str):
    assert f"results/cifar10-cpu/report/{name}" in README
    assert (CIFAR / "report" / name).stat().st_size > 0


def test_what_is_said_of_the_training_of_cifar_10_is_on_the_cards():
    zoo = ROOT / "samplers" / "zoo"
    teacher, extractor = (json.loads((zoo / f"{n}.json").read_text()) for n in ("cifar10-small", "cifar10-lite"))
    floor = extractor["floor"]
    assert f"{teacher['training']['images']:,} images" in README
    assert f"{teacher['training']['seconds'] / 60:.0f} minutes" in README
    assert f"{100 * extractor['test_accuracy']:.1f} % of the test images" in README
    assert f"({floor['images']:,}) score {floor['frechet_distance']:.2g}" in README


def test_dsno_s_tables_are_the_records():
    (section,) = sections(load_records([DSNO]))
    assert markdown.render(main_tables(section)) in README
    assert ablations_table(ABLATIONS) in README


def test_the_run_s_samplers_are_installed_and_every_shipped_student_is_in_it():
    records, cifar = load_records([RESULTS]), load_records([CIFAR])
    assert set(records["sampler"]) <= set(samplers.names())
    shipped = {
        json.loads(p.read_text())["sha256"] for z in ("samplers/distilled", "dsno") for p in (ROOT / z / "zoo").glob("*.json")
    }
    assert shipped <= set(records["student.sha256"]) | set(cifar["student.sha256"])


def test_the_first_ladder_s_scores_are_the_records():
    folder = ROOT / "results" / "mnist32-progressive-l2"
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    fd = {r["steps"]: r["quality"]["fd_mnist"]["value"] for r in records if r["family"] == "progressive"}
    assert f"scored {fd[1]:.2f} in one step and {fd[4]:.2f} in four" in README
    rungs = {r["steps"]: r["sha256"] for r in json.loads((folder / "ladder.json").read_text())["rungs"]}
    assert all(rungs[r["steps"]] == r["student"]["sha256"] for r in records if r["student"])


def test_dsno_s_profile_is_the_measured_one():
    result = json.loads((DSNO / "profile" / "profile.json").read_text())
    assert (DSNO / "profile" / "profile.md").read_text() == markdown.render(page.document(result))
    for b in result["batches"]:
        if b["batch_size"] in (1, 4, 16, 32, 64):
            assert f"| {b['batch_size']} | {b['ms']['median']:#.3g}".rstrip(".") in README


def test_the_profile_on_cifar_10_is_the_measured_one():
    result = json.loads((CIFAR / "profile" / "profile.json").read_text())
    assert (CIFAR / "profile" / "profile.md").read_text() == markdown.render(page.document(result))
    first, last = result["batches"][0], result["batches"][-1]
    many = [f"{b['ratio_to_m_forwards']['median']:.2f}" for b in (first, last)]
    assert f"costs {many[1]} (batch {last['batch_size']}) to {many[0]} times (batch {first['batch_size']})" in README
    assert f"{first['ratio_to_one_forward']['median']:.2f} single forwards" in README


@pytest.mark.parametrize("name", ["report/paths.png", "report/learning.png", "profile/profile.png"])
def test_dsno_s_figures_are_there(name: str):
    assert f"results/mnist32-dsno/{name}" in README
    assert (DSNO / name).stat().st_size > 0


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
    assert markdown.render([calibration_page.error_table(trials, setting["terms"]["effect"])]) in README
    assert "results/gate-calibration/calibration.png" in README
    assert max(t["seconds"] for t in trials) < 60


def test_shipped_weights_stay_small():
    found = [p for package in ("bench", "dsno", "samplers") for p in (ROOT / package).rglob("*.safetensors")]
    assert sum(p.stat().st_size for p in found) < 40e6
    assert sum(p.stat().st_size for p in found if "cifar10" in p.name) < 20e6


def test_the_run_is_at_full_scale():
    frame = load_records([RESULTS])
    missing = frame[frame["status"] != "ok"]
    assert set(missing["cell"]) == {f"progressive_n{n}_b100_fp32_eager" for n in (2, 8)}, "their students do not ship"
    assert set(missing["status"]) == {"skipped"}
    frame = frame[frame["status"] == "ok"]
    assert frame["images"].min() >= 5000
    assert frame["counted.calls"].min() == 1
    assert frame["counted.calls"].max() == 50
