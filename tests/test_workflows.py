"""The workflows run what a person would: targets of the Makefile, and commands that the command line knows."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from bench.cli import app

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
