"""The gate's exit codes, and the command that ends with them. No time is measured here."""

import json

import pytest
import torch
from command import call
from report_fixture import failed, record, write_run
from revisions_fixture import git

from bench.comparison import baseline
from bench.comparison.verdicts import PASS, REGRESSION, UNSURE, Row, exit_code


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["same", "less", "faster", "better", "skipped"], PASS),
        (["same", "slower"], REGRESSION),
        (["more", "ambiguous"], REGRESSION),
        (["worse"], REGRESSION),
        (["wrong"], REGRESSION),
        (["same", "ambiguous"], UNSURE),
        (["same", "not comparable"], UNSURE),
        (["skipped"], UNSURE),
        ([], UNSURE),
    ],
)
def test_exit_codes(verdicts, code):
    assert exit_code([Row("a@1", "time", "", "", v) for v in verdicts]) == code


def test_a_lost_cell_is_told_where_nothing_else_is(monkeypatch, capsys, tmp_path):
    write_run(tmp_path / "a", [record("ddim", 5)], images=False)
    write_run(tmp_path / "b", [failed("ddim", 5, "out of memory")], images=False)
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, capsys, "gate", "a", "b", "--judge", "time")[0] == REGRESSION
    code, out, _ = call(monkeypatch, capsys, "gate", "b", "b")
    assert code == UNSURE
    assert "gate: undecided: there was nothing to compare" in out


def test_only_the_quantities_asked_for_decide_but_a_lost_cell_always_does():
    rows = [Row("a@1", "operators", "", "", "more"), Row("a@1", "time", "", "", "same")]
    assert exit_code(rows, ("time",)) == PASS
    assert exit_code([*rows, Row("b@1", "cell", "", "", "wrong")], ("time",)) == REGRESSION
    assert exit_code([*rows, Row("every cell", "operators, flops", "", "", "not comparable")], ("flops",)) == UNSURE


def test_the_repository_s_own_counts_hold(monkeypatch, capsys, tmp_path):
    """What CI runs. A change of the work is meant? Then `bench gate --update`, and commit the file with it."""
    code, out, err = call(monkeypatch, capsys, "gate", "--out", str(tmp_path))
    counts = json.loads(baseline.STORED.read_text())
    own_build = counts["torch"] == torch.__version__.partition("+")[0] and not torch.cuda.is_available()
    assert code == (PASS if own_build else UNSURE), out + err


def test_the_exit_code_of_two_runs(monkeypatch, capsys, tmp_path):
    write_run(tmp_path / "a", [record("ddim", 5, fd=4.0)], images=False)
    write_run(tmp_path / "b", [record("ddim", 5, fd=6.0)], images=False)
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, capsys, "gate", "a", "a")[0] == PASS
    code, out, _ = call(monkeypatch, capsys, "gate", "a", "b")
    assert code == REGRESSION
    assert "gate: regression: ddim@5 fd_mnist worse" in out
    assert call(monkeypatch, capsys, "gate", "a", "b", "--judge", "calls")[0] == PASS
    assert call(monkeypatch, capsys, "gate", "a", "b", "--judge", "time")[0] == PASS
    code, _, err = call(monkeypatch, capsys, "gate", "a", "b", "--judge", "speed")
    assert code == 2
    assert "nothing here has the quantity speed; there are calls, fd_mnist" in err
    assert call(monkeypatch, capsys, "compare", "a", "b")[0] == 0, "compare only tells"


def test_two_of_a_kind(monkeypatch, capsys, tmp_path, changed):
    write_run(changed / "run", [record("ddim", 5)], images=False)
    git(changed, "add", "-A")
    monkeypatch.chdir(changed)
    code, _, err = call(monkeypatch, capsys, "gate", "run", "good")
    assert code == 2
    assert "'run' is a run and 'good' a revision; compare two of a kind" in err
    (changed / "empty").mkdir()
    for words, told in (
        (["empty", "run"], "no records.jsonl in empty"),
        (["run", "run", "--no-time", "--calls", "3"], "--calls, --no-time: only revisions are run again"),
        (["--samplers", "ddim"], "--samplers: the stored counts are of every sampler"),
        (["good", "--update"], "leave out good"),
    ):
        code, _, err = call(monkeypatch, capsys, "gate", *words)
        assert code == 2
        assert told in err


def test_speed_results_are_judged_and_handed_on(monkeypatch, capsys, tmp_path):
    def write(name: str, median: float) -> str:
        times = {"median": median, "q1": median, "q3": median, "min": median, "rounds": 30, "data": [median] * 30}
        entry = {"fullname": "test_a", "stats": times, "extra_info": {"cpu_share": 1.0}}
        (tmp_path / name).write_text(json.dumps({"machine_info": {"cohort": {"cpu": "c"}}, "benchmarks": [entry]}))
        return str(tmp_path / name)

    before, slow = write("before.json", 1.0), write("slow.json", 2.0)
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, capsys, "gate", before, before)[0] == PASS
    code, out, _ = call(monkeypatch, capsys, "gate", before, slow)
    assert code == REGRESSION
    assert "test_a time slower" in out
    assert call(monkeypatch, capsys, "gate", slow, "--action", "action.json")[0] == PASS
    (entry,) = json.loads((tmp_path / "action.json").read_text())
    assert (entry["name"], entry["unit"], entry["value"]) == ("test_a", "ms", 2000.0)
