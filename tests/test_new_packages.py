"""The packages among the examples are what `bench new` writes, and work installed in an environment of their own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from command import call
from tiny import write_teacher

from bench.commands.making import write_package

ROOT = Path(__file__).parents[1]
EXAMPLES = {"ab2": ("sampler", 40), "one_call": ("student", 150)}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_what_bench_new_writes_and_is_short(name, tmp_path):
    kind, most = EXAMPLES[name]
    shutil.copytree(
        ROOT / "examples" / name, tmp_path / "example", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    )
    written = write_package(kind, name, tmp_path)
    assert {p.name: p.read_text() for p in written} == {p.name: p.read_text() for p in (tmp_path / "example").iterdir()}
    assert sum(len(p.read_text().splitlines()) for p in written) < most


TOGETHER = """
import bench

(order,) = [f.reason for f in bench.verify("ab2") if f.check == "order"]
print(order)
bench.train("one_call", recipe="recipe.yaml", out="training/one_call", quiet=True)
found = bench.verify("ab2") + bench.verify("one_call", "tiny.json", zoo="training")
print(len(found), [f for f in found if f.passed is False])
"""


def test_both_work_in_an_environment_of_their_own(tmp_path):
    sources = [str(shutil.copytree(ROOT / "examples" / name, tmp_path / "source" / name)) for name in EXAMPLES]
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--no-compile", "--target", str(tmp_path / "site"))
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *sources], check=True)
    recipe = yaml.safe_load((tmp_path / "source" / "one_call" / "recipe.yaml").read_text())
    recipe["one_call"] |= {"teacher": str(write_teacher(tmp_path)), "held_out": {"count": 4, "seed": 77}}
    recipe["one_call"]["optimisation"] = {"steps": 3, "batch": 4, "validate_every": 1}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    path = os.pathsep.join((str(tmp_path / "site"), str(ROOT)))
    program = [sys.executable, "-c", TOGETHER]
    done = subprocess.run(program, env=os.environ | {"PYTHONPATH": path}, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    order, found = done.stdout.splitlines()
    assert "the card says 2" in order
    assert found == "32 []"


def test_a_new_solver_is_used_from_its_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, _ = call(monkeypatch, capsys, "new", "sampler", "brand_new")
    assert (code, "pip install -e brand_new" in out) == (0, True)
    code, out, _ = call(monkeypatch, capsys, "verify", "brand_new", "--plugin", "brand_new/brand_new.py")
    assert (code, "no check failed" in out) == (0, True)


def test_a_new_student_is_trained_from_its_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    call(monkeypatch, capsys, "new", "student", "brand_new_student")
    folder = Path("brand_new_student")
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    recipe["brand_new_student"] |= {"teacher": str(write_teacher(tmp_path)), "held_out": {"count": 2, "seed": 77}}
    recipe["brand_new_student"]["optimisation"] = {"steps": 2, "batch": 2}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    plugin = ("--plugin", str(folder / "brand_new_student.py"))
    code, _, err = call(monkeypatch, capsys, "train", "brand_new_student", "--recipe", str(folder / "recipe.yaml"), *plugin)
    assert code == 0, err
    code, out, _ = call(
        monkeypatch, capsys, "verify", "brand_new_student", "--teacher", "tiny.json", "--zoo", "training", *plugin
    )
    assert (code, "no check failed" in out) == (0, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("solver", "mine"), "unknown kind of package 'solver'; did you mean"),
        (("sampler", "My-Solver"), "cannot be a name"),
        (("sampler", "heun"), "'heun' is taken"),
        (("student", "torch"), "'torch' is taken"),
        (("student", "there"), "there is there already"),
    ],
)
def test_a_package_that_cannot_be_is_one_line(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    code, _, err = call(monkeypatch, capsys, "new", *words)
    assert (code, told in " ".join(err.split())) == (2, True)
    assert [p.name for p in tmp_path.iterdir()] == ["there"]
