"""Two revisions in one process: a small repository whose second commit spoils a solver."""

import hashlib
import importlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from revisions_fixture import edit, git

from bench.comparison.checkout import WORKING_TREE, Packages, Revision, export, repository
from bench.comparison.revisions import compare_revisions, contest
from bench.comparison.settings import ComparisonSettings
from bench.comparison.verdicts import PASS, exit_code
from samplers import UserError
from samplers.models.weights import load_tensors, save_tensors

COUNT = ComparisonSettings(samplers=("ddim", "dsno"), calls=2, time=False)


def rows(folder: Path, tmp_path: Path, terms: ComparisonSettings = COUNT) -> dict[tuple[str, str], str]:
    found = compare_revisions(("good", WORKING_TREE), folder, terms, tmp_path / "out")
    return {(r.cell, r.quantity): r.verdict for r in found.rows}


def test_no_change_passes(changed, tmp_path):
    found = rows(changed, tmp_path)
    assert set(found.values()) == {"same"}
    assert {cell for cell, _ in found} == {"ddim@2", "dsno@1"}


def test_one_more_operation_a_step_is_found_in_the_working_tree(changed, tmp_path):
    edit(changed, "samplers/models/scaling.py", "f = network(", "f = network(0 + ")
    found = rows(changed, tmp_path)
    assert found["ddim@2", "operators"] == "more"
    assert found["ddim@2", "images"] == "same"


def test_both_sides_take_the_networks_of_the_first(changed, tmp_path):
    """Weights trained anew are no change of the code."""
    zoo = changed / "samplers" / "zoo"
    tensors, info = load_tensors(zoo / "mnist32.safetensors")
    other = {k: 1.1 * v for k, v in tensors.items()}
    card = json.loads((zoo / "mnist32.json").read_text())
    card["sha256"] = save_tensors(zoo / "mnist32.safetensors", other, info)
    (zoo / "mnist32.json").write_text(json.dumps(card))
    assert set(rows(changed, tmp_path).values()) == {"same"}


def test_other_images_are_wrong(changed, tmp_path):
    edit(changed, "samplers/models/scaling.py", "f = network(", "f = network(1.1 * ")
    assert rows(changed, tmp_path)["ddim@2", "images"] == "wrong"


def test_a_sampler_that_is_gone_cannot_be_compared(changed, tmp_path):
    edit(changed, "pyproject.toml", 'dsno = "dsno.sampler:DSNOSampler"\n', "")
    found = compare_revisions(("good", WORKING_TREE), changed, COUNT, tmp_path / "out").rows
    (gone,) = [r for r in found if r.cell == "dsno"]
    assert (gone.verdict, gone.note) == ("not comparable", "working tree: there is no sampler dsno")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            lambda f: edit(f, "samplers/schedule.py", "import math", "import math\nimport no_such_module"),
            "does not import here",
        ),
        (lambda f: (f / "samplers" / "noises.py").write_text("def noise(:\n"), "does not import here"),
        (lambda f: shutil.rmtree(f / "samplers"), "has no package samplers"),
    ],
)
def test_a_revision_that_does_not_build(changed, tmp_path, spoil, told):
    spoil(changed)
    with pytest.raises(UserError, match=told) as e:
        rows(changed, tmp_path)
    assert "\n" not in str(e.value)


def test_a_revision_brings_the_packages_that_its_project_includes(changed, tmp_path):
    """Another one as well as ours, but not the harness, and nothing that only lies beside them."""
    for name in ("more", "bench", "other"):
        (changed / name).mkdir()
        (changed / name / "__init__.py").write_text(f"NAME = '{name}'\n")
    edit(changed, "pyproject.toml", '"dsno*"]', '"dsno*", "more*"]')
    git(changed, "add", "-A")
    git(changed, "commit", "-qm", "more")
    for k, name in enumerate(("HEAD", WORKING_TREE)):
        found = export(name, changed, tmp_path / str(k))
        assert {p.name for p in found.root.iterdir() if not p.name.endswith(".dist-info")} == {
            "dsno", "more", "pyproject.toml", "samplers",
        }  # fmt: skip
        with Packages(found).active():
            assert importlib.import_module("more").NAME == "more"
        assert "more" not in sys.modules


def test_mistakes_are_one_line(repo, tmp_path):
    with pytest.raises(UserError, match="'bad' is no revision of this checkout"):
        compare_revisions(("bad", "good"), repo, COUNT, tmp_path / "out")
    with pytest.raises(UserError, match="not a git repository"):
        repository(tmp_path)
    with pytest.raises(UserError, match="effect must be below 1, got 5"):
        ComparisonSettings(effect=5)
    for changes, told in (
        ({"teacher": "mnits"}, "^unknown teacher 'mnits'"),
        ({"samplers": ("ddimm",)}, "^unknown sampler 'ddimm'; did you mean 'ddim'"),
        ({"samplers": ("ddim:etta=1",)}, "^unknown option of ddim 'etta'"),
    ):
        with pytest.raises(UserError, match=told):
            compare_revisions(("good", "good"), repo, ComparisonSettings(**{"time": False, **changes}), tmp_path / "out")
    with pytest.raises(UserError, match="write a step count after the @"):
        ComparisonSettings(samplers=("ddim@x",))
    with pytest.raises(UserError, match="samplers must not be empty"):
        ComparisonSettings(samplers=())


def test_two_revisions_live_side_by_side_and_leave_ours_alone(repo, tmp_path):
    a, b = (Packages(export("good", repo, tmp_path / side)) for side in "ab")
    ours, path = sys.modules["samplers"], list(sys.path)
    for packages in (a, b, a):
        with packages.active():
            import samplers as theirs

            assert Path(theirs.__file__).is_relative_to(packages.revision.root)
            theirs.mark = getattr(theirs, "mark", 0) + 1
    assert sys.modules["samplers"] is ours
    assert sys.path == path
    assert not hasattr(ours, "mark")
    with a.active():
        import samplers as theirs

        assert theirs.mark == 2


# Time: who is asked, and what is made of the answers


def answer(**verdicts: str | None) -> dict:
    """What a process tells: cells "a@1" and so on, their verdicts; None where it had no time."""
    one = {"a_ms": 10.0, "b_ms": 11.0, "ratio": 1.1, "ratio_low": 1.09, "ratio_high": 1.11, "pairs": 20, "log_ratios": []}
    cells = {f"{name}@1": v for name, v in verdicts.items()}
    return {
        "cells": list(cells),
        "absent": {},
        "strangers": [],
        "proxies": {},
        "time": {n: None if v is None else one | {"verdict": v} for n, v in cells.items()},
    }


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Runs a contest on made-up answers; returns (cells asked of each process, verdict by cell, rows)."""

    def run(*answers: dict) -> tuple[list[list[str]], dict[str, str], list]:
        left, requests = list(answers), []

        def ask(request, out, k):
            requests.append(request)
            return left.pop(0)

        monkeypatch.setattr("bench.comparison.revisions._ask", ask)
        sides = tuple(Revision(n, "0" * 40, tmp_path) for n in ("good", WORKING_TREE))
        rows = contest(sides, ComparisonSettings(samplers=("a", "b"), budget=90), tmp_path / "out").rows
        assert [r["count"] for r in requests] == [True, False, False][: len(requests)]
        assert [r["first"] for r in requests] == [0, 1, 0][: len(requests)]
        assert all(0 < r["seconds"] <= 90 for r in requests)
        return [r["cells"] for r in requests], {r.cell: r.verdict for r in rows}, rows

    return run


def test_two_processes_that_agree_are_enough(asked):
    cells, verdicts, _ = asked(answer(a="same", b="slower"), answer(a="same", b="slower"))
    assert cells == [["a", "b"], ["a@1", "b@1"]]
    assert verdicts == {"a@1": "same", "b@1": "slower"}


def test_a_third_is_asked_only_for_what_is_undecided(asked):
    cells, verdicts, _ = asked(answer(a="same", b="slower"), answer(a="same", b="same"), answer(b="slower"))
    assert cells[2] == ["b@1"]
    assert verdicts == {"a@1": "same", "b@1": "slower"}


def test_three_that_differ_are_ambiguous(asked):
    _, verdicts, _ = asked(answer(a="same", b="slower"), answer(a="slower", b="slower"), answer(a="faster"))
    assert verdicts == {"a@1": "ambiguous", "b@1": "slower"}


def test_no_time_is_said_and_is_no_verdict(asked):
    _, verdicts, rows = asked(answer(a=None, b="same"), answer(a=None, b="same"))
    assert verdicts == {"a@1": "ambiguous", "b@1": "same"}
    assert "raise --budget above 90 s" in next(r.note for r in rows if r.cell == "a@1")


def test_what_is_the_same_is_counted_and_not_timed(repo, tmp_path):
    found = compare_revisions(("good", WORKING_TREE), repo, ComparisonSettings(samplers=("ddim",), calls=1), tmp_path / "out")
    assert {r.verdict for r in found.rows} == {"same"}
    (row,) = [r for r in found.rows if r.quantity == "time"]
    assert row.note.startswith("nothing differs: the packages are the same files")
    assert hashlib.sha256().hexdigest()[:7] not in row.note  # the hash of files that are there, not of none
    assert len(list((tmp_path / "out").glob("process-*.json"))) == 1


def test_a_change_of_a_file_or_of_an_entry_point_is_another_tree(changed, tmp_path):
    before = export("good", changed, tmp_path / "a").tree
    assert export(WORKING_TREE, changed, tmp_path / "b").tree == before
    (changed / "notes.txt").write_text("of no package")
    assert export(WORKING_TREE, changed, tmp_path / "c").tree == before
    edit(changed, "samplers/noises.py", "import", "import math\nimport", count=1)
    other = export(WORKING_TREE, changed, tmp_path / "d").tree
    edit(changed, "pyproject.toml", 'dsno = "dsno.sampler:DSNOSampler"\n', "")
    assert len({before, other, export(WORKING_TREE, changed, tmp_path / "e").tree}) == 3


STRANGER = """
import samplers


class Stranger(samplers.Sampler):
    card = samplers.Card(name="stranger", family="toy", paper="none", order=None)

    def sample(self, denoiser, noise, *, steps, labels=None, callback=None):
        return noise * float("nan")
"""


def test_a_stranger_installed_here_is_of_neither_revision(repo, tmp_path, install, monkeypatch):
    install("[bench.samplers]\nstranger = stranger_package:Stranger\nbroken = nowhere:No", STRANGER)
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(tmp_path / "site" / "stranger_package"), os.environ.get("PYTHONPATH", "")])
    )
    terms = ComparisonSettings(samplers=("all",), calls=1, time=False)
    found = compare_revisions(("good", WORKING_TREE), repo, terms, tmp_path / "out").rows
    assert [(r.cell, r.verdict, r.note) for r in found if r.verdict != "same" and "stranger" in r.cell + r.note] == [
        ("stranger", "skipped", "of neither revision, so not judged")
    ]
    assert exit_code(found) == PASS
    with pytest.raises(UserError, match="sampler 'stranger' is of neither revision"):
        compare_revisions(
            ("good", WORKING_TREE), repo, ComparisonSettings(samplers=("stranger",), time=False), tmp_path / "out"
        )


def test_a_real_pass_is_timed_on_both_sides(changed, tmp_path):
    """Nothing is asserted of how long it takes."""
    edit(changed, "samplers/noises.py", "import", "# a comment\nimport", count=1)
    found = compare_revisions(
        ("good", WORKING_TREE), changed, ComparisonSettings(samplers=("ddim",), calls=1, budget=45), tmp_path / "out"
    )
    (row,) = [r for r in found.rows if r.quantity == "time"]
    assert row.cell == "ddim@1"
    assert row.verdict in ("same", "slower", "faster", "ambiguous")
    processes = row.data["processes"]
    assert len(processes) in (2, 3)
    assert all(p["pairs"] > 0 and p["a_ms"] > 0 and p["b_ms"] > 0 for p in processes)
    assert len(list((tmp_path / "out").glob("process-*.json"))) == len(processes)
