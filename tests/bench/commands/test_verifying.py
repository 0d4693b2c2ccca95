"""`bench verify`, and a file of samplers that is not installed."""

from dataclasses import replace
from pathlib import Path

import pytest
from command import call

import bench
import samplers
from samplers.solvers.euler import DDIM

MINE = """
from dataclasses import replace
from samplers.solvers.euler import DDIM

class Mine(DDIM):
    card = replace(DDIM.card, name="my_ddim", order=ORDER)
"""


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mine(tmp_path) -> Path:
    """A file of a name of its own, since a module of that name stays."""
    path = tmp_path / f"mine_{tmp_path.name}.py"
    path.write_text(MINE.replace("ORDER", "1"))
    return path


def test_what_passes_is_told_and_exits_with_0(monkeypatch, capsys, mine):
    code, out, _ = call(monkeypatch, capsys, "verify", "my_ddim:eta=0.5", "--plugin", str(mine))
    assert (code, "no check failed" in out) == (0, True)
    assert samplers.card("my_ddim").order == 1


def test_what_fails_is_told_with_its_line_and_exits_with_1(monkeypatch, capsys, mine):
    mine.write_text(MINE.replace("ORDER", "2"))
    code, out, _ = call(monkeypatch, capsys, "verify", "my_ddim", "--plugin", str(mine))
    assert code == 1
    assert "1 of 16 checks failed: order" in out
    (row,) = [line for line in out.splitlines() if "FAIL" in line]
    assert "the card says order 2" in row


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (None, "no file"),
        ("x = 1", "defines no sampler"),
        ("import nobody_has_this", "cannot be imported (ModuleNotFoundError"),
        (MINE.replace("my_ddim", "ddim").replace("ORDER", "1"), "a sampler 'ddim' is there already"),
    ],
)
def test_a_file_that_is_no_plugin_is_one_line(monkeypatch, capsys, mine, source, told):
    mine.unlink()
    if source is not None:
        mine.write_text(source)
    code, _, err = call(monkeypatch, capsys, "verify", "ddim", "--plugin", str(mine))
    assert (code, err.count("bench: ")) == (2, 1)
    assert told in " ".join(err.split())


def test_a_file_does_not_take_a_module_s_name(monkeypatch, capsys, tmp_path):
    (tmp_path / "torch.py").write_text("")
    code, _, err = call(monkeypatch, capsys, "verify", "ddim", "--plugin", "torch.py")
    assert (code, "rename the file" in err) == (2, True)


def test_a_file_in_the_folder_that_python_was_started_in_is_its_own_module(monkeypatch, capsys, mine):
    monkeypatch.syspath_prepend(mine.parent)
    code, _, err = call(monkeypatch, capsys, "verify", "my_ddim:eta=0.5", "--plugin", str(mine))
    assert code == 0, err


def test_a_class_and_an_object_are_verified_as_they_are():
    class Mine(DDIM):
        """Says second order, and is of first."""

        card = replace(DDIM.card, order=2)

    for sampler in (Mine, Mine(eta=0.0)):
        found = bench.verify(sampler)
        assert [f.check for f in found if f.passed is False] == ["order"]
    with pytest.raises(bench.UserError, match="unknown sampler"):
        samplers.get(f"{__name__}:{Mine.__qualname__}")
