"""The arrows between the packages: dsno -> samplers <- bench, and nothing else."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {"samplers": {"bench", "dsno"}, "dsno": {"bench"}, "bench": {"dsno"}}


def imported(source: str) -> set[str]:
    """Top-level packages that a module imports anywhere in it, by statement or by `import_module("...")`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module",
            "__import__",
        ):
            found |= {a.value.split(".")[0] for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    return found


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_follow_the_arrows(package):
    wrong = {
        f"{path.relative_to(ROOT)} imports {', '.join(sorted(bad))}"
        for path in (ROOT / package).rglob("*.py")
        if (bad := imported(path.read_text()) & FORBIDDEN[package])
    }
    assert not wrong


def test_samplers_and_bench_are_there():
    """So that an empty folder does not pass for a clean one."""
    assert len(list((ROOT / "samplers").rglob("*.py"))) > 10
    assert len(list((ROOT / "bench").rglob("*.py"))) >= 1


@pytest.mark.parametrize(
    "line", ["import bench.cli", "from bench import run", "def f():\n    import bench", "importlib.import_module('bench.cli')"]
)
def test_the_reader_of_imports_sees_every_form(line):
    assert "bench" in imported(line)
