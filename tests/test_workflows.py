"""The workflows run what a person would: targets of the Makefile, and commands that the command line knows."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

import samplers
from bench import make_plan
from bench.cli import app
from bench.runs.cells import cells
from samplers.spec import Spec

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def commands(path: Path) -> list[str]:
    content = yaml.safe_load(path.read_text())
    assert content["name"] == path.stem
    assert {"push", "pull_request"} <= content[True].keys(), "`on` is a boolean to YAML"
    steps = [step for job in content["jobs"].values() for step in job["steps"]]
    assert all(("run" in s) != ("uses" in s) for s in steps)
    return [line.strip() for s in steps for line in s.get("run", "").splitlines()]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_what_is_run_exists(path):
    lines = commands(path)
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = [m[1] for line in lines if (m := re.match(r"make (?:-s )?(\w+)", line))]
    assert made
    assert set(made) <= set(targets)
    benches = [re.split(r" > | \|", line)[0] for line in lines if line.startswith(".venv/bin/bench ")]
    for name, *words in (shlex.split(b.removeprefix(".venv/bin/bench ")) for b in benches):
        command = get_command(app).commands[name]
        command.make_context(name, words)  # raises on a flag that is not there


def test_a_pull_request_is_timed_against_its_base_on_the_same_runner():
    (timed,) = [line for line in commands(ROOT / ".github" / "workflows" / "speed.yml") if "--judge" in line]
    assert "bench gate $BASE --judge time" in timed.replace('"', "")


def test_ci_runs_the_gate_that_needs_no_clock():
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "make gate"


def told(target: str) -> list[str]:
    """What `make TARGET` would do in a fresh clone."""
    asked = ["make", "--no-print-directory", "-n", "-B", target]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_demo_installs_what_a_user_needs_and_says_what_it_does():
    lines = told("demo")
    assert [line for line in lines if "pip install" in line] == [
        ".venv/bin/python -m pip install --constraint constraints.txt --editable ."
    ]
    assert any("azula,browser,kdiffusion,test" in line for line in told("test"))
    said = [i for i, line in enumerate(lines) if line.startswith("echo")]
    assert "into .venv, a few minutes" in lines[said[0]]
    assert "pip" in lines[said[0] + 2]
    cells_told = re.search(r"demo: (\d+) cells of (\d+) images each .* minutes", lines[said[1]])
    plan = make_plan("demo")
    assert cells_told
    assert (int(cells_told[1]), int(cells_told[2])) == (len(cells(plan)), plan.images)
    assert lines[-1] == ".venv/bin/bench run --plan demo --out runs/demo"


def test_the_demo_s_students_meet_solvers_of_as_many_calls():
    found = {cell: samplers.card(Spec.parse(cell.sampler).name) for cell in cells(make_plan("demo"))}
    calls = {cell: card.calls(cell.steps) for cell, card in found.items()}
    students, solvers = ({calls[c] for c, card in found.items() if card.training is trained} for trained in (True, False))
    assert students
    assert students <= solvers
    assert min(calls[c] for c in found if c.sampler == "heun") > 10, "below it diverges"
