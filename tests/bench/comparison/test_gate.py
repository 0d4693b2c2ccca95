"""The gate blocks what got slower or other, passes what did not, and says so by its exit code. No time is measured here."""

import json
import math
import random
from pathlib import Path

import pytest
import torch
from command import call
from report_fixture import failed, record, write_run
from revisions_fixture import edit, git

import samplers
from bench.comparison import baseline, paired_worker
from bench.comparison.gate import decide
from bench.comparison.settings import ComparisonSettings
from bench.comparison.verdicts import PASS, REGRESSION, UNSURE, Row, exit_code
from samplers import UserError
from samplers.operations import Operations

SETTINGS = ComparisonSettings(samplers=("ddim@4",), budget=600)


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


# Stored counts


@pytest.fixture(scope="module")
def stored() -> dict:
    return baseline.count(calls=2)


def test_counts_are_the_same_each_time_and_for_every_sampler(stored):
    assert {"ddim@2", "ddpm@2", "dsno@1", "heun@1", "consistency@2"} < stored["cells"].keys()
    again = baseline.count(calls=2)
    rows = baseline.compare_counts(stored, again)
    assert {r.verdict for r in rows} == {"same"}
    assert len(rows) == 7 * len(stored["cells"])


def altered(stored: dict, cell: str, **changes) -> dict:
    found = json.loads(json.dumps(stored))
    found["cells"][cell].update(changes)
    return found


def test_one_more_call_than_stored_is_a_regression(stored):
    before = altered(stored, "ddim@2", calls=1)
    (row,) = [r for r in baseline.compare_counts(before, stored) if r.verdict != "same"]
    assert (row.cell, row.quantity, row.verdict) == ("ddim@2", "calls", "more")


def test_a_sampler_that_came_or_went_is_told(stored):
    fewer = json.loads(json.dumps(stored))
    del fewer["cells"]["ddim@2"]
    for a, b, verdict, told in ((stored, fewer, "not comparable", "gone"), (fewer, stored, "skipped", "not stored yet")):
        (row,) = [r for r in baseline.compare_counts(a, b) if r.verdict != "same"]
        assert row.verdict == verdict
        assert told in row.note
        assert exit_code(baseline.compare_counts(a, b)) == (PASS if verdict == "skipped" else UNSURE)


@pytest.mark.parametrize("known", [True, False])
def test_a_sampler_that_makes_nan_is_a_regression_stored_or_new(stored, known):
    """Also where the stored images are NaN: no image of theirs is right."""
    spoiled = altered(stored, "ddim@2", images=[[math.nan] * 16] * 2)
    before = json.loads(json.dumps(spoiled if known else stored))
    if not known:
        del before["cells"]["ddim@2"]
    assert exit_code(baseline.compare_counts(before, spoiled)) == REGRESSION


def test_nan_is_a_regression_of_another_build_with_other_weights_too(stored):
    spoiled = altered(stored, "ddim@2", images=[[math.nan] * 16] * 2) | {"torch": "2.11.0"}
    rows = baseline.compare_counts(stored | {"teacher": {"name": "mnist32", "sha256": "0" * 64}}, spoiled)
    assert exit_code(rows, ("calls",)) == REGRESSION


STRANGERS = """
import samplers


class Hangs(samplers.Sampler):
    card = samplers.Card(name="hangs", family="toy", paper="none", order=None)

    def sample(self, denoiser, noise, *, steps, labels=None, callback=None):
        while True:
            pass
"""


def test_strangers_are_listed_and_only_what_is_stored_of_them_is_judged(install, stored, monkeypatch):
    install("[bench.samplers]\nhangs = stranger_package:Hangs\nbroken = nowhere:No\nddim = stranger_package:Hangs", STRANGERS)
    monkeypatch.setattr("bench.comparison.subject.LONGEST", 0.2)
    monkeypatch.setattr("samplers.names", lambda: ["broken", "hangs", "stranger-package:ddim"])
    now = baseline.count(calls=2)
    assert (now["cells"], now["failed"]) == ({}, {})
    rows = baseline.compare_counts(stored | {"cells": {}}, now)
    assert {(r.cell, r.verdict, r.note) for r in rows} == {
        (name, "skipped", "of stranger-package: not stored, so not judged") for name in samplers.names()
    }
    cell = stored["cells"]["ddim@2"]
    rows = baseline.check(stored | {"calls": 2, "cells": {"hangs@2": cell, "broken@2": cell}}, Path("counts.json")).rows
    told = {r.cell: (r.verdict, r.note) for r in rows}
    assert told["hangs@2"][0] == "wrong"
    assert told["hangs@2"][1].startswith("OverdueError: not done after 0.2 s, stranger_package.py:")
    assert told["broken"][0] == "wrong"
    assert told["stranger-package:ddim"][0] == "skipped"


@pytest.mark.parametrize("cell", ["ddim@2", "ddim@1", "ddim", "mine@2", "mine"])
def test_a_sampler_that_raises_when_it_is_counted_is_a_regression_and_a_new_one_is_listed(stored, cell):
    known = cell.startswith("ddim")
    rows = baseline.compare_counts(stored, stored | {"failed": {cell: "no"}})
    (row,) = [r for r in rows if r.verdict != "same"]
    assert (row.cell, row.verdict, row.note) == (cell, "wrong" if known else "skipped", "no")
    assert exit_code(rows) == (REGRESSION if known else PASS)


def test_another_build_is_compared_by_what_does_not_depend_on_it(stored):
    rows = baseline.compare_counts(stored, altered(stored, "ddim@2", operators=1, peak_bytes=1) | {"torch": "2.11.0"})
    assert exit_code(rows) == UNSURE
    assert exit_code(rows, ("calls", "forwards", "flops", "images")) == PASS
    assert {r.quantity for r in rows if r.verdict == "same"} == {"calls", "forwards", "flops", "images"}


def test_other_weights_have_other_images(stored):
    other = stored | {"teacher": {"name": "mnist32", "sha256": "0" * 64}}
    rows = baseline.compare_counts(other, altered(stored, "ddim@2", images=[[0.0] * 16] * 2))
    assert [r.quantity for r in rows if r.verdict != "same"] == ["images"]
    assert exit_code(rows) == UNSURE


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no stored counts at"),
        ("", "is not JSON"),
        ("[]", "lacks everything"),
        ('{"schema": 1, "cells": {"ddim@1": {"calls": 1}}}', "holds no counts"),
        ('{"schema": 2}', "has schema 2, this version reads 1"),
        ('{"schema": "1\\n1"}', "has schema 1 1, this version reads 1"),
    ],
)
def test_a_file_of_counts_that_cannot_be_used(content, told, tmp_path):
    if content is not None:
        (tmp_path / "counts.json").write_text(content)
    with pytest.raises(UserError, match=told) as e:
        baseline.read(tmp_path / "counts.json")
    assert "bench gate --update" in str(e.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("torch",), 2),
        (("device",), "tpu"),
        (("calls",), 10**9),
        (("teacher",), "mnist32"),
        (("teacher", "name"), ["x"]),
        (("teacher", "name"), "x" * 10**7),
        (("cells",), []),
        (("cells", "ddim@2"), None),
        (("cells", "ddim@2", "calls"), "5"),
        (("cells", "ddim@2", "flops"), -1),
        (("cells", "ddim@2", "peak_bytes"), 10**400),
        (("cells", "ddim@2", "images"), []),
        (("cells", "ddim@2", "images"), [[0.0] * 16, [0.0]]),
        (("cells", "ddim@2", "images"), [["0"] * 16]),
        (("cells", "ddim@2", "new\nkey"), 1),
    ],
)
def test_a_forged_count_is_one_line(stored, path, value, tmp_path):
    forged = json.loads(json.dumps(stored))
    place = forged
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (tmp_path / "counts.json").write_text(json.dumps(forged))
    with pytest.raises(UserError, match=rf"holds no counts \({path[0]}") as e:
        baseline.read(tmp_path / "counts.json")
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 400


def test_counts_of_changed_sources_are_not_stored(changed, tmp_path, monkeypatch):
    counts, made = tmp_path / "counts.json", {"schema": 1, "cells": {}, "failed": {}}
    monkeypatch.setattr(baseline, "count", lambda **_: made | {"others": {}})
    monkeypatch.chdir(changed)
    head = baseline.update(counts)["commit"]
    assert json.loads(counts.read_text()) == {"commit": head, **made}
    counts.unlink()
    edit(changed, "samplers/noises.py", "import", "import math\nimport", count=1)
    with pytest.raises(UserError, match="uncommitted changes"):
        baseline.update(counts)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="not a git repository"):
        baseline.update(counts)
    assert not counts.exists()


# The command


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
