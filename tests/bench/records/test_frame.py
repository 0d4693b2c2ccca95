"""Records as a table."""

import pytest
from report_fixture import failed, record, write_run

from bench.records.frame import load_records
from samplers.errors import UserError


def test_records_become_a_flat_table(tmp_path):
    df = load_records([write_run(tmp_path / "a", [record("ddim", 5, fd=7.0), failed("heun", 5, "NaN")])])
    assert df["counted.calls"].tolist()[0] == 5
    assert df["quality.fd_mnist.value"].tolist()[0] == 7.0
    assert df["time.latency_ms.median"].notna().tolist() == [True, False]
    assert "quality" not in df
    assert "student" not in df


def test_a_line_cut_off_while_written_is_ignored(tmp_path):
    run = write_run(tmp_path / "a", [record("ddim", 5), record("ddim", 10)])
    path = run / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-200])
    assert load_records([run])["steps"].tolist() == [5]


def test_only_the_last_record_of_a_cell_counts(tmp_path):
    df = load_records([write_run(tmp_path / "a", [failed("ddim", 5, "out of memory"), record("ddim", 5)])])
    assert df["status"].tolist() == ["ok"]


def test_the_same_folder_twice_is_one_run(tmp_path):
    run = write_run(tmp_path / "a", [record("ddim", 5)])
    assert len(load_records([run, tmp_path / "a" / "." / "samples" / ".."])) == 1


@pytest.mark.parametrize(
    "content", [b"", b"not a record\n", b"[1]\n", b"{}\n", b'{"schema": 1}\n', b'{"schema": 7}\n', b"\xff\xfe\n"]
)
def test_what_is_not_records_is_the_users_mistake(tmp_path, content):
    (tmp_path / "records.jsonl").write_bytes(content)
    with pytest.raises(UserError) as e:
        load_records([tmp_path])
    assert "\n" not in str(e.value)


def test_no_records_names_the_fix(tmp_path):
    (tmp_path / "records.jsonl").write_text("")
    with pytest.raises(UserError, match="bench run"):
        load_records([tmp_path])
    with pytest.raises(UserError, match="bench run"):
        load_records([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="bench run"):
        load_records([])
