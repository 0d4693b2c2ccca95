"""Four users' first paths, as scripts that docs/journeys.md prints: they run, and say what a newcomer must see."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.presentation.text import measured

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = (ROOT / "docs" / "journeys.md").read_text()
NAMES = ("researcher", "checkpoint", "author", "engineer")


def walk(name: str, home: Path) -> tuple[str, str]:
    """(standard output, standard error) of a script in an empty folder of a clone, with one thread; nothing is fetched."""
    (home / "bin").mkdir()
    for program, module in (("bench", "-m bench.cli"), ("pip", "-m pip"), ("python", "")):
        (home / "bin" / program).write_text(f'#!/bin/sh\nexec "{sys.executable}" -P {module} "$@"\n')
        (home / "bin" / program).chmod(0o755)
    work = home / "work"
    work.mkdir()
    (work / "results").symlink_to(ROOT / "results")
    environment = os.environ | {
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join((str(home / "site"), str(ROOT))),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "BENCH_CACHE": str(home / "cache"),
        "PIP_TARGET": str(home / "site"),
        **dict.fromkeys(("PIP_NO_DEPS", "PIP_NO_INDEX", "PIP_DISABLE_PIP_VERSION_CHECK"), "1"),
        "PIP_NO_BUILD_ISOLATION": "0",  # pip's way to say yes
    }
    done = subprocess.run(["bash", "-eu", HERE / f"{name}.sh"], cwd=work, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_the_page_prints_the_script(name: str):
    assert f"```sh\n{(HERE / f'{name}.sh').read_text()}```" in PAGE


@pytest.fixture(scope="module", params=NAMES)
def walked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str, Path]:
    home = tmp_path_factory.mktemp(request.param)
    return request.param, *walk(request.param, home), home / "work"


SEEN = {
    "researcher": [
        r"\| states \| 3x16x16 \|",
        r"\| two calls \| denoise \|",
        r"No Frechet distance was measured, so no sampler can be called best\.",
        r"\*\*At most 4 calls: \S+\*\* \(\d calls?\) has the smallest trajectory error, 0\.\d+ \[",
        r"\*\*At most 16 calls: ",
        r"9 records in runs/mine/records\.jsonl",
        r"report: runs/mine/report/report\.\w+",
        r"no score of their images .* name one with --extractor",
    ],
    "checkpoint": [
        r"\| states \| 1x32x32 \|",
        r"\| parameters \| [\d,]+ \|",
        r"\| predicts \| v \|",
        r"\| noise levels \| 0\.01 to 157\.4",
        r"\| two calls \| denoise \|",
        r"\*\*At most 4 calls: \S+\*\* \(4 calls\) has the smallest trajectory error, ",
        r"4 records in runs/ode/records\.jsonl",
        r"1 record in runs/scored/records\.jsonl",
        r"\| fd_mnist \| \d+",
        r"\| reference \| mnist's own \|",
    ],
    "author": [
        r"my_solver/my_solver\.py",
        r"no check failed",
        r"card: training/recipe-my_student/my_student-mnist32\.json",
        r"5 records in runs/mine/records\.jsonl",
        r"\*\*At most 1 call: ",
        r"\*\*At most 4 calls: ",
    ],
    "engineer": [
        r"10 .*\*\*use \S+, \d steps?\*\*",
        r"Runner-up",
        r"2 records in runs/before/records\.jsonl",
        r"\| dpmpp_2m@4 \| time \|",
        r"\*\*gate: pass \(judged by calls, forwards, flops, trajectory_error alone\)\*\*",
    ],
}
"""What must stand in a journey's standard output, in this order where it says nothing else."""


def test_it_says_what_a_newcomer_must_see(walked):
    name, out, _, _ = walked
    for pattern in SEEN[name]:
        assert re.search(pattern, out), f"{pattern}\n\n{out}"


def test_it_says_nothing_that_is_none_of_its_reader_s_business(walked):
    _, out, err, work = walked
    for word in ("Traceback", "Warning", "warn(", str(work), "nan", "None", "\x1b"):
        assert word not in out + err, f"{word!r}\n\n{out}{err}"
    assert not [line for line in err.splitlines() if line.strip() and not line.startswith("bench: ")], err


def test_what_it_names_is_there(walked):
    _, out, _, work = walked
    for path in re.findall(r"^(?:report|card): (\S+)$", out, re.MULTILINE):
        assert (work / path).stat().st_size > 0


def test_images_have_the_same_score_in_a_run_and_in_its_folder(walked):
    _, out, _, work = walked
    for path in work.glob("runs/scored/records.jsonl"):
        scored = json.loads(path.read_text())["quality"]["fd_mnist"]
        assert f"| fd_mnist | {measured(scored['value'])} | 8 |" in out
