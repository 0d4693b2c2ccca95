"""One process at a time in a folder."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from bench.cli import main
from samplers import UserError
from samplers.files import alone_in, read_json, write_json

HOLDER = """
from pathlib import Path
from samplers.files import alone_in
with alone_in(Path("held")):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds the folder `held`."""
    command = [sys.executable, "-c", textwrap.dedent(HOLDER)]
    process = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_held_folder_is_refused_until_its_process_is_killed(holder, tmp_path):
    told = r"another process is at work in .*held; wait for it, stop it, or choose another --out"
    with pytest.raises(UserError, match=told), alone_in(tmp_path / "held"):
        pytest.fail("two at once")
    with alone_in(tmp_path / "other"):
        pass
    holder.kill()  # as kill -9: no time to tidy up
    holder.wait()
    with alone_in(tmp_path / "held"):
        pass


@pytest.mark.parametrize("words", [["train", "teacher"], ["run", "--samplers", "ddim@1"]])
def test_commands_refuse_a_held_folder(words, holder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", *words, "--out", str(tmp_path / "held")])
    with pytest.raises(SystemExit) as e:
        main()
    assert e.value.code == 2
    assert "another process is at work in" in capsys.readouterr().err
    assert not list((tmp_path / "held").iterdir())


def test_a_folder_that_nothing_came_into_is_removed(tmp_path):
    with pytest.raises(UserError, match="a mistake"), alone_in(tmp_path / "new"):
        raise UserError("a mistake")
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    with alone_in(tmp_path / "old"):
        pass
    assert (tmp_path / "old").exists()
    with alone_in(tmp_path / "full"):
        (tmp_path / "full" / "log").write_text("")
    assert (tmp_path / "full" / "log").exists()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot make the folder .*file"), alone_in(tmp_path / "file"):
        pass


def test_nothing_is_left_in_it_or_beside_it(tmp_path):
    with alone_in(tmp_path / "held"):
        assert not list((tmp_path / "held").iterdir())
        (tmp_path / "held" / "log").write_text("")
    assert [p.name for p in tmp_path.iterdir()] == ["held"]


def test_where_no_lock_can_be_made_nothing_is_held(tmp_path, monkeypatch):
    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.open", refuse)
    with alone_in(tmp_path):
        pass


def test_processes_of_torchrun_share_it(holder, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with alone_in(tmp_path / "held"):
        pass


def test_json_reads_back(tmp_path):
    write_json(tmp_path / "new" / "x.json", {"a": [1.5, None]})
    assert read_json(tmp_path / "new" / "x.json", "list", "make it") == {"a": [1.5, None]}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, r"no list at .*x.json \(No such file or directory\); make it"),
        (b"", r"x.json is not JSON \(.*\), so no list; make it"),
        (b"\xff\xfe\x00", "x.json is not JSON"),
        (b"[" * 100_000, "x.json is not JSON"),
        (b"[1]", "x.json holds no list, it lacks everything; make it"),
        (b'{"b": 1}', "x.json holds no list, it lacks a; make it"),
    ],
)
def test_what_is_no_json_object_is_one_line(content, told, tmp_path):
    if content is not None:
        (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UserError, match=told):
        read_json(tmp_path / "x.json", "list", "make it", ("a",))
