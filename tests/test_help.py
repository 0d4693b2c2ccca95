"""Help is printed without loading what computes."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "pandas", "scipy", "matplotlib", "seaborn")
PRINT = """
import sys
from bench.cli import main
sys.argv = ["bench", *{words!r}]
try:
    main()
finally:
    print("loaded:", sorted({heavy!r} & sys.modules.keys()))
"""


@pytest.mark.parametrize(
    "words",
    [[], ["run"], ["recommend"], ["tune"], ["compare"], ["profile"], ["score"], ["train"]],
    ids=lambda w: w[0] if w else "bench",
)
def test_help_loads_no_torch(words: list[str]):
    program = PRINT.format(words=[*words, "--help"], heavy=set(HEAVY))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "Usage: " in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize(
    "program", ["import bench, samplers", "from samplers import UserError", "from bench import Plan; Plan()"]
)
def test_the_faces_load_no_torch(program: str):
    program += f"; import sys; print(sorted({set(HEAVY)!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
