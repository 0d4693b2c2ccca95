"""Two revisions in one process: a small repository whose second commit spoils a solver."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import samplers
from bench.compare_revisions import Terms, compare_revisions
from bench.revisions import WORKING_TREE, Packages, export, repository
from bench.verdicts import exit_code
from samplers import UserError

ROOT = Path(samplers.__file__).parents[1]
COUNT = Terms(samplers=("ddim", "dsno"), calls=2, timed=False)


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", folder, *who, *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def repo(tmp_path_factory) -> Path:
    """Our packages, without the zoos' students but DSNO's, as one commit tagged `good`."""
    folder = tmp_path_factory.mktemp("repo")
    skipped = shutil.ignore_patterns("__pycache__", "consistency*.safetensors", "progressive*.safetensors", "kd*.safetensors")
    for package in ("samplers", "dsno"):
        shutil.copytree(ROOT / package, folder / package, ignore=skipped)
    shutil.copy(ROOT / "pyproject.toml", folder)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "good")
    git(folder, "tag", "good")
    return folder


@pytest.fixture
def changed(repo, tmp_path) -> Path:
    """A copy to change."""
    return shutil.copytree(repo, tmp_path / "repo")


def edit(folder: Path, file: str, old: str, new: str) -> None:
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def rows(folder: Path, tmp_path: Path, terms: Terms = COUNT) -> dict[tuple[str, str], str]:
    found = compare_revisions(("good", WORKING_TREE), folder, terms, tmp_path / "out")
    return {(r.cell, r.quantity): r.verdict for r in found.rows}


def test_no_change_passes(changed, tmp_path):
    found = rows(changed, tmp_path)
    assert set(found.values()) == {"same"}
    assert {cell for cell, _ in found} == {"ddim@2", "dsno@1"}


def test_one_more_operation_a_step_is_found_in_the_working_tree(changed, tmp_path):
    edit(changed, "samplers/teacher.py", "f = self.network(x /", "f = self.network(0 + x /")
    found = rows(changed, tmp_path)
    assert found["ddim@2", "operators"] == "more"
    assert found["ddim@2", "images"] == "same"


def test_other_images_are_wrong(changed, tmp_path):
    edit(changed, "samplers/teacher.py", "f = self.network(x /", "f = self.network(1.1 * x /")
    assert rows(changed, tmp_path)["ddim@2", "images"] == "wrong"


def test_a_sampler_that_is_gone_cannot_be_compared(changed, tmp_path):
    edit(changed, "pyproject.toml", 'dsno = "dsno.sampler:DSNOSampler"\n', "")
    found = compare_revisions(("good", WORKING_TREE), changed, COUNT, tmp_path / "out").rows
    (gone,) = [r for r in found if r.cell == "dsno"]
    assert (gone.verdict, gone.note) == ("not comparable", "working tree: there is no sampler dsno")
    assert exit_code(found) == 3


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            lambda f: edit(f, "samplers/schedule.py", "import math", "import math\nimport no_such_module"),
            "does not import here",
        ),
        (lambda f: (f / "samplers" / "noise.py").write_text("def noise(:\n"), "does not import here"),
        (lambda f: shutil.rmtree(f / "samplers"), "has no package samplers"),
    ],
)
def test_a_revision_that_does_not_build(changed, tmp_path, spoil, told):
    spoil(changed)
    with pytest.raises(UserError, match=told) as e:
        rows(changed, tmp_path)
    assert "\n" not in str(e.value)


def test_mistakes_are_one_line(repo, tmp_path):
    with pytest.raises(UserError, match="'bad' is no revision of this checkout"):
        compare_revisions(("bad", "good"), repo, COUNT, tmp_path / "out")
    with pytest.raises(UserError, match="not a git repository"):
        repository(tmp_path)
    with pytest.raises(UserError, match="effect must be between 0 and 1"):
        Terms(effect=5)
    with pytest.raises(UserError, match="unknown teacher"):
        compare_revisions(("good", "good"), repo, Terms(teacher="mnits", timed=False), tmp_path / "out")


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
