"""The commands from Python: the same words, objects where names are, and a user's mistake as a UserError."""

import inspect
from pathlib import Path

import pytest
from report_fixture import record, write_run
from typer.main import get_command

import bench
from bench.cli import app
from bench.comparison.gate import Decision
from bench.comparison.settings import ComparisonSettings
from bench.profiling.settings import ProfileSettings
from bench.quality.settings import ScoreSettings
from bench.reports.budget import Budget
from bench.runs.plan import Plan
from bench.runs.tuning_settings import TuningSettings
from samplers import UserError

SETTINGS = {
    "run": Plan,
    "compare": ComparisonSettings,
    "gate": ComparisonSettings,
    "profile": ProfileSettings,
    "recommend": Budget,
    "score": ScoreSettings,
    "tune": TuningSettings,
}
OF_THE_CONSOLE = {"markdown", "no_report", "report"}
OF_THE_REPORT = {"run": {"literature"}}  # which the command ends with, and its function leaves to `bench.report`
CALLED = {("campaign", "seconds"): "slice"}


@pytest.mark.parametrize("name", sorted(get_command(app).commands))
def test_every_command_is_a_function_of_the_same_words(name: str):
    function = getattr(bench, name if name != "list" else "list_")
    words = {CALLED.get((name, p.name), p.name) for p in get_command(app).commands[name].params} - {"help"} - OF_THE_CONSOLE
    words -= OF_THE_REPORT.get(name, set())
    known = {*inspect.signature(function).parameters, *(SETTINGS[name].model_fields if name in SETTINGS else ())}
    assert words <= known


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "a", [record("ddim", 5), record("heun", 5)], images=False)
    write_run(tmp_path / "b", [record("ddim", 5), record("heun", 5)], images=False)
    return tmp_path


def test_runs_are_reported_and_compared_by_folder_and_by_records(two: Path):
    from bench.records.frame import load_records

    assert bench.report("a") == Path("a/report/report.md")
    assert bench.report(load_records(["a", "b"]), out="both") == Path("both/report.md")
    outcome = bench.compare("a", load_records(["b"]), quiet=True)
    assert {r.verdict for r in outcome.rows if r.quantity == "calls"} == {"same"}
    assert Path("runs/comparison/comparison.json").exists()
    decision = bench.gate("a", "b", judge="calls", quiet=True)
    assert isinstance(decision, Decision)
    assert (decision.code, decision.line) == (0, "gate: pass (judged by calls alone)")
    with pytest.raises(UserError, match="records of 2 runs; compare one run with another"):
        bench.compare("a", load_records(["a", "b"]), quiet=True)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: bench.report("nowhere"), "no records at nowhere"),
        (lambda: bench.compare("a", "b", effect=5, quiet=True), "effect must be below 1"),
        (lambda: bench.compare("a", "b", calls=3, quiet=True), "--calls: only revisions are run again"),
        (lambda: bench.gate("a", "b", stored="counts.json", quiet=True), "--update and --stored are of the stored counts"),
        (lambda: bench.train("techer"), "did you mean 'teacher'"),
        (lambda: bench.profile("ddim", quiet=True), "carries no network"),
        (lambda: bench.profile(repetitions=2, quiet=True), "repetitions must be at least 6"),
        (lambda: bench.tune("cifar11", "out"), "did you mean 'cifar10'"),
        (lambda: bench.convert("edn:file.pkl", "out.json"), "unknown kind of checkpoint 'edn'"),
        (lambda: bench.campaign("mnist32", data="nowhere"), "no data at nowhere"),
        (lambda: bench.run(zoo="nowhere"), "no folder nowhere to find cards in"),
    ],
)
def test_a_mistake_is_a_user_error(call, told: str, two: Path):
    with pytest.raises(UserError, match=told):
        call()
