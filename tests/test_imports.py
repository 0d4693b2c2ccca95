"""The arrows between the packages, dsno -> samplers <- bench, and between the rooms of bench, which import downwards."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {"samplers": {"bench", "dsno"}, "dsno": {"bench"}, "bench": {"dsno"}}

LEVELS = {
    "presentation": 1,
    "publications": 2,
    "quality": 2,
    "instruments": 2,
    "records": 2,
    "reports": 3,
    "machine": 3,
    "runs": 4,
    "comparison": 4,
    "profiling": 4,
    "studies": 5,
    "commands": 6,
    "cli": 7,
}
"""Rooms of bench, and its two files: what stands at a level imports lower ones, and of its own level nothing but itself."""
FACE = "__init__"
"""The lazy face of bench, which says where each public name lives and imports none of it before it is asked for."""
LONGEST = 250


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


def rooms(source: str) -> set[str]:
    """Rooms of bench that a module imports anywhere in it; `import bench` is its face."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module] if node.module != "bench" else [f"bench.{alias.name}" for alias in node.names]
        for parts in (n.split(".") for n in names):
            if parts[0] == "bench":
                found.add(parts[1] if len(parts) > 1 and parts[1] in LEVELS else FACE)
    return found


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "bench").parts[0].removesuffix(".py")


def test_bench_is_rooms_and_two_files():
    assert {room_of(p) for p in (ROOT / "bench").rglob("*.py")} == {*LEVELS, FACE}
    assert len(LEVELS) + 3 <= 16, "with the face, samplers and dsno"
    assert max(LEVELS.values()) <= 7


@pytest.mark.parametrize("room", LEVELS)
def test_a_room_imports_only_lower_levels(room: str):
    """The face counts as what stands right below the commands and the studies that use it."""
    levels = LEVELS | {FACE: LEVELS["runs"]}
    paths = [p for p in (ROOT / "bench").rglob("*.py") if room_of(p) == room]
    assert paths
    wrong = {
        f"{p.relative_to(ROOT)} imports {other}"
        for p in paths
        for other in rooms(p.read_text()) - {room}
        if levels[other] >= levels[room]
    }
    assert not wrong


@pytest.mark.parametrize("room", sorted({*LEVELS} - {"cli"}))
def test_a_room_says_what_lives_there_and_what_it_imports(room: str):
    said = ast.get_docstring(ast.parse((ROOT / "bench" / room / "__init__.py").read_text()))
    assert said
    assert "Imports" in said


def test_no_module_is_long():
    long = {p for q in FORBIDDEN for p in (ROOT / q).rglob("*.py") if len(p.read_text().splitlines()) > LONGEST}
    assert not long


@pytest.mark.parametrize("package", ["bench", "samplers", "samplers.training"])
def test_a_lazy_face_holds_what_it_tells_type_checkers(package: str):
    face = import_module(package)
    told = {
        alias.name: node.module
        for node in ast.walk(ast.parse(Path(str(face.__file__)).read_text()))
        if isinstance(node, ast.ImportFrom) and node.col_offset
        for alias in node.names
    }
    assert sorted(told) == face.__all__
    assert set(told) <= set(dir(face))
    for name, module in told.items():
        assert getattr(face, name) is getattr(import_module(str(module)), name)
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        face.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("line", "room"),
    [
        ("import bench", FACE),
        ("import bench.runs.plan", "runs"),
        ("from bench import run", FACE),
        ("def f():\n    from bench.runs import plan", "runs"),
        ("from bench import reports", "reports"),
    ],
)
def test_the_reader_of_rooms_sees_every_form(line: str, room: str):
    assert rooms(line) == {room}
