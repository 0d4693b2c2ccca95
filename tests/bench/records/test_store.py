import json
import os
import textwrap
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from processes import exit_code, start
from report_fixture import record as made_up
from shaken_records import shaken_records

from bench.records.schema import Record
from bench.records.store import Store, read_lines, read_records
from bench.records.versions import HASH, plain, upgrade
from bench.runs.plan import Plan
from samplers import UserError

PLAN = Plan().to_yaml()


def record(n: int) -> Record:
    return upgrade(made_up("ddim", 5, cell=f"c{n}"))


def test_a_line_cut_short_by_a_kill_is_dropped_and_the_rest_kept(tmp_path: Path):
    Store(tmp_path, PLAN, {}).add(record(1))
    with open(tmp_path / "records.jsonl", "a") as f:
        f.write('{"schema": 1, "cell": "c2", "qual')
    assert read_records(tmp_path / "records.jsonl") == [record(1)]
    store = Store(tmp_path, PLAN, {})
    store.add(record(3))
    assert store.records() == [record(1), record(3)]


def test_a_line_that_was_edited_by_hand_is_known(tmp_path: Path):
    """Older lines, without a hash, are not known to be."""
    store, path = Store(tmp_path, PLAN, {}), tmp_path / "records.jsonl"
    for n in (1, 2, 3):
        store.add(record(n))
    assert [edited for _, edited in read_lines(path)] == [False] * 3
    first, second, third = path.read_text().splitlines()
    better = second.replace('"calls": 5', '"calls": 4')
    assert better != second
    old = json.dumps({k: v for k, v in json.loads(third).items() if k != HASH})
    path.write_text("\n".join((first, better, old)) + "\n")
    assert [(r.cell, edited) for r, edited in read_lines(path)] == [("c1", False), ("c2", True), ("c3", False)]


@settings(max_examples=25, deadline=None)
@given(shaken_records())
def test_whatever_is_written_is_read_as_it_was(records):
    with TemporaryDirectory() as folder:
        store = Store(Path(folder), PLAN, {})
        for r in records:
            store.add(upgrade(r))
        assert read_lines(Path(folder) / "records.jsonl") == [(upgrade(r), False) for r in records]


def test_a_full_disk_leaves_the_records_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = Store(tmp_path, PLAN, {})
    store.add(record(1))
    before = (tmp_path / "records.jsonl").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"No space left on device.*nothing already there is lost"):
        store.add(record(2))
    assert (tmp_path / "records.jsonl").read_bytes() == before


def test_a_line_that_a_full_disk_cuts_is_taken_back(tmp_path: Path):
    """The kernel cuts the write itself (a limit on the file's size), so nothing buffered may follow it."""
    program = textwrap.dedent(f"""
        import resource, signal
        from pathlib import Path
        from bench.runs.plan import Plan
        from bench.records.versions import upgrade
        from bench.records.store import Store
        from report_fixture import record
        from samplers import UserError

        store = Store(Path({str(tmp_path)!r}), Plan().to_yaml(), {{}})
        store.add(upgrade(record("ddim", 5, cell="x")))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limit = (Path({str(tmp_path)!r}) / "records.jsonl").stat().st_size + 500
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            store.add(upgrade(record("ddim", 5, cell="y")))
        except UserError as e:
            assert "nothing already there is lost" in str(e)
        else:
            raise AssertionError("nothing told")
    """)
    assert exit_code(start(program, tmp_path)) == 0
    assert [r.cell for r in read_records(tmp_path / "records.jsonl")] == ["x"]


def test_a_run_with_other_weights_or_on_another_device_is_refused(tmp_path: Path):
    Store(tmp_path, PLAN, {"teacher": "a", "device": "cpu"})
    with pytest.raises(UserError, match="another teacher;"):
        Store(tmp_path, PLAN, {"teacher": "b", "device": "cpu"})


def test_a_folder_of_another_plan_is_refused(tmp_path: Path):
    Store(tmp_path, Plan(seed=1).to_yaml(), {})
    with pytest.raises(UserError, match="another plan"):
        Store(tmp_path, Plan(seed=2).to_yaml(), {})


def test_a_line_that_is_no_record_is_told_by_number(tmp_path: Path):
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(plain(record(1))) + "\nhello\n")
    with pytest.raises(UserError, match="line 2 is not a record"):
        read_records(path)
    path.write_text('{"schema": 99}\n')
    with pytest.raises(UserError, match="schema 99"):
        read_records(path)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("identity.json", b"", "identity.json is not JSON"),
        ("identity.json", b"[1]", "identity.json holds no identity of a run"),
        ("plan.yaml", b"\xff\xfe", "another plan"),
        ("plan.yaml", b"", "another plan"),
    ],
)
def test_a_damaged_folder_is_told_and_nothing_in_it_lost(tmp_path: Path, name: str, content: bytes, told: str):
    Store(tmp_path, PLAN, {}).add(record(1))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=told):
        Store(tmp_path, PLAN, {})
    assert (tmp_path / name).read_bytes() == content
    assert read_records(tmp_path / "records.jsonl") == [record(1)]
