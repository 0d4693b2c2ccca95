"""The gate holds a tree against stored counts: calls, operators and images of every sampler."""

import json
import math
from pathlib import Path

import pytest
from revisions_fixture import edit

import samplers
from bench.comparison import baseline
from bench.comparison.verdicts import PASS, REGRESSION, UNSURE, exit_code
from samplers import UserError


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
