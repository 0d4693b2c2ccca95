"""Every command that README and docs print is run by a test, or says what it needs; the command line can read all of them."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import command
import pytest
import torch
from printed import PAGES, ROOT, Fence, fences
from typer.main import get_command

from bench.cli import app
from bench.quality.metrics import Metric
from bench.quality.moments import Moments
from bench.quality.reference import Reference
from bench.quality.sample import Sample
from bench.runs.plan import PLANS, make_plan
from samplers.training.recipe import RECIPES

NEEDS = {"needs a GPU", "needs the network", "needs data", "needs a cluster", "takes minutes", "takes hours"}
ELSEWHERE = {
    "python -m bench.commands.reference": "bench/commands/test_reference.py",
    "python -m dsno.ablations.table results/mnist32-ablations": "bench/commands/test_reference.py",
    "bench report results/mnist32-cpu": "bench/reports/test_committed_reports.py",
}
"""Commands that another test runs, and which."""
SMALL = {
    "run": "--calls 2 --images 4 --trajectory-images 2 --repetitions 3 --time-budget 0.1 --device cpu --threads 1 --quiet "
    "--no-report",
    "doctor": "--no-measure",
}
"""What is added to a command so that it takes a second."""
SHELL = [f for f in fences() if f.language == "sh"]
BENCH = re.compile(r"(?:^|[;&]\s*|\bdo |\bsrun |-m )(?:\.venv/bin/)?bench(?:\.cli)? ([^;&]*)")


def made() -> set[str]:
    """What `make` runs in continuous integration, and the targets that it is told."""
    targets = dict(re.findall(r"^(\w+):.*\n((?:\t.*\n)*)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    files = [*(ROOT / ".github" / "workflows").glob("*.yml"), ROOT / ".ci" / "run"]
    told = {t for f in files for t in re.findall(r"\bmake (?:-s )?(\w+)", f.read_text()) if t in targets}
    return {f"make {t}" for t in told} | {
        line.strip().removeprefix("$(BIN)/") for t in told for line in targets[t].splitlines()
    }


def journeys() -> set[str]:
    return {path.read_text() for path in (ROOT / "tests" / "journeys").glob("*.sh")}


def run_elsewhere(fence: Fence) -> bool:
    """Whether another test runs it: as a journey, with the teachers that are brought, or its commands by name."""
    brought = fence.heading == "Bring your model" and fence.page in ("README.md", "teachers.md")
    return fence.code in journeys() or brought or set(fence.commands) <= made() | ELSEWHERE.keys()


RUN_HERE = [f for f in SHELL if not f.needs and not run_elsewhere(f)]


def at(fence: Fence) -> str:
    return f"{fence.page}:{fence.line}"


@pytest.fixture
def _clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder with the committed results; what is imported from it is forgotten, and figures are not drawn."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("bench.quality.trajectory.STEPS", 4)
    monkeypatch.setattr("bench.presentation.looks.save", lambda figure, path: path.touch())
    (tmp_path / "results").symlink_to(ROOT / "results")
    before = sys.modules.keys() | set()
    yield
    for name in sys.modules.keys() - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.usefixtures("_clone")
@pytest.mark.parametrize("fence", RUN_HERE, ids=at)
def test_its_commands_run(fence: Fence, monkeypatch, capsys):
    """As printed, but for sizes; what is not a command of bench has to say what it needs, or be run by another test."""
    for i, line in enumerate(fence.commands):
        if line in ELSEWHERE:
            continue
        name, *words = shlex.split(line)
        assert name.removeprefix(".venv/bin/") == "bench", (
            f"{at(fence)}: {line}: no test runs it, and it does not say what it needs"
        )
        more = [*SMALL.get(words[0], "").split(), *(["--out", str(i)] if words[0] == "run" else [])]
        code, out, err = command.call(monkeypatch, capsys, *words, *more)
        assert code == 0, f"{line}: {out}{err}"
        assert out


@pytest.mark.parametrize("fence", SHELL, ids=at)
def test_it_says_what_it_needs_in_known_words_and_can_be_read(fence: Fence):
    assert set(fence.needs.split(", ")) <= NEEDS | {""}
    for line in fence.commands:
        for words in map(shlex.split, BENCH.findall(line)):
            get_command(app).commands[words[0]].make_context(words[0], words[1:])  # raises on a flag that is not there
            for flag, folder in (("--plan", PLANS), ("--recipe", RECIPES)):
                name = words[words.index(flag) + 1] if flag in words else ""
                assert not name or "." in name or (folder / f"{name}.yaml").exists(), line


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_within_a_sentence_can_be_read(page: Path):
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for command_line in re.findall(r"`bench ([a-z][^`]*)`", text):
        name, *words = shlex.split(command_line.replace("...", ""))
        try:
            get_command(app).commands[name].make_context(name, words)
        except Exception as e:
            if type(e).__name__ != "MissingParameter":  # where only the command's name stands, or one of its flags
                raise


def test_commands_are_found_wherever_they_stand():
    assert BENCH.findall("for i in 1; do bench run --shard $i/2; done") == ["run --shard $i/2"]
    assert BENCH.findall("torchrun --nproc-per-node 2 -m bench.cli run --images 4") == ["run --images 4"]
    assert BENCH.findall("bench merge a b && bench report c") == ["merge a b ", "report c"]
    assert BENCH.findall("cd bench") == []
    assert sum(len(BENCH.findall(line)) for f in SHELL for line in f.commands) > 60


def test_what_is_said_to_be_run_elsewhere_is():
    for line, path in ELSEWHERE.items():
        module = line.split()[2] if line.startswith("python") else "write_report"
        assert module in (ROOT / "tests" / path).read_text() + "".join(
            p.read_text() for p in PAGES if path.endswith("reference.py")
        )
    assert {"make test", "make demo", "make gate", "bench gate"} <= made()
    assert sum(f.code in journeys() for f in SHELL) == len(journeys())


def test_a_fence_without_a_mark_that_no_test_runs_fails(tmp_path):
    page = tmp_path / "new.md"
    page.write_text(
        "# New\n\n```sh\nwget weights # from there\n```\n\n<!-- not run: needs the network -->\n\n```sh\nwget more\n```\n"
    )
    bare, marked = fences([page])
    assert (bare.line, bare.heading, bare.needs, bare.commands) == (3, "New", "", ["wget weights"])
    assert not run_elsewhere(bare)
    assert marked.needs == "needs the network"


@pytest.mark.usefixtures("_clone")
def test_python_runs():
    """The program of using.md as printed but for its sizes; other pages' are run by their own tests."""
    python = {f.page: f.code for f in fences() if f.language in ("python", "py")}
    assert set(python) == {"using.md", "extending.md", "teachers.md"}, "teachers.md's by test_bring_your_model.py"
    small = python["using.md"].replace("images=640)", "images=4, trajectory_images=2, repetitions=3, threads=1, quiet=True)")
    there: dict = {}
    exec(small.replace("[5, 10]", "[1, 2]"), there)
    assert len(there["records"]) == 4
    assert there["images"].shape == (16, 1, 32, 32)


def test_the_metric_of_extending_md_is_one():
    (code,) = [f.code for f in fences() if f.page == "extending.md" and f.language == "python"]
    there: dict = {}
    exec(code, there)
    metric = there["Brightness"]()
    assert isinstance(metric, Metric)
    features = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    reference = Reference(Moments.of(torch.zeros(4, 2)))
    found = metric.score(Sample.of(features), reference, 0)["brightness"]
    assert (found.value, found.n, list(found.influence)) == (2.5, 2, [1.5, 3.5])


def test_the_plan_of_plan_md_is_one(tmp_path):
    (code,) = [f.code for f in fences() if f.page == "plan.md" and f.language == "yaml"]
    path = tmp_path / "plan.yaml"
    path.write_text(code)
    assert make_plan(path).images == 5000
