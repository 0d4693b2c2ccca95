"""Parts of a journey: what comes out is what went in, or one line says what is wrong."""

import json
from pathlib import Path

import pytest

from bench.studies.parts import TABLE, Item, items_of, main, pack, read_table, unpack, write
from samplers import UserError
from samplers.models.weights import load_tensors

FILES = {"a/one.bin": bytes(range(256)) * 40, "empty": b"", "z.txt": b"hello", "a/two.bin": b"\x07" * 9000}
LIMIT = 4000


@pytest.fixture
def items(tmp_path):
    for name, content in FILES.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    return [Item(name, tmp_path / "in" / name) for name in FILES]


def refused(folder, out, match):
    with pytest.raises(UserError, match=match) as e:
        unpack(folder, out)
    assert "\n" not in str(e.value)
    assert not out.exists()


def test_files_come_out_as_they_went_in(items, tmp_path):
    parcel = pack(items, LIMIT)
    write(parcel, tmp_path / "parts", {"note": 1})
    table = unpack(tmp_path / "parts", tmp_path / "out")
    assert {k: (tmp_path / "out" / k).read_bytes() for k in FILES} == FILES
    assert table["note"] == 1
    sizes = [(tmp_path / "parts" / p["file"]).stat().st_size for p in table["parts"]]
    assert len(sizes) > 5
    assert max(sizes) <= LIMIT
    assert sum(sizes) == parcel.size()
    assert all(load_tensors(tmp_path / "parts" / p["file"], p["sha256"]) for p in table["parts"])


def test_what_was_packed_keeps_its_parts_when_more_comes_behind(items):
    before, after = pack(items[:1], LIMIT), pack(items, LIMIT)
    assert [p.sha256 for p in after.parts[: len(before.parts) - 1]] == [p.sha256 for p in before.parts[:-1]]


def test_held_parts_are_told_of_and_not_written(items, tmp_path):
    first = pack(items[:1], LIMIT)
    write(first, tmp_path / "home")
    held = {p.sha256 for p in first.parts}
    whole = pack(items, LIMIT)
    write(whole, tmp_path / "new", held=held)
    rows = read_table(tmp_path / "new")["parts"]
    assert [r["held"] for r in rows] == [True] * (len(first.parts) - 1) + [False] * (len(rows) - len(first.parts) + 1)
    assert all((tmp_path / "new" / r["file"]).exists() != r["held"] for r in rows)
    assert whole.size(held) == sum(r["bytes"] for r in rows if not r["held"])
    refused(tmp_path / "new", tmp_path / "out", "is missing; put the parts that came earlier beside contents.json")
    for path in (tmp_path / "new").iterdir():
        path.rename(tmp_path / "home" / path.name)
    unpack(tmp_path / "home", tmp_path / "out")
    assert (tmp_path / "out" / "a/two.bin").read_bytes() == FILES["a/two.bin"]


def test_parts_of_an_older_parcel_go(items, tmp_path):
    write(pack(items, LIMIT), tmp_path / "parts")
    table = write(pack(items[2:], LIMIT), tmp_path / "parts")
    assert {p.name for p in table.parent.iterdir()} == {TABLE, *(r["file"] for r in read_table(tmp_path / "parts")["parts"])}


def test_damage_is_seen(items, tmp_path):
    folder = tmp_path / "parts"
    write(pack(items, LIMIT), folder)
    path = folder / read_table(folder)["parts"][1]["file"]
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused(folder, tmp_path / "out", "SHA-256 is")
    path.write_bytes(whole)
    table = read_table(folder)
    table["files"][0]["sha256"] = "0" * 64
    (folder / TABLE).write_text(json.dumps(table))
    refused(folder, tmp_path / "out", "'a/one.bin' is not the file that was packed")
    del table["files"]
    (folder / TABLE).write_text(json.dumps(table))
    refused(folder, tmp_path / "out", "lacks files")
    table["files"] = [{"sha256": "0" * 64}]
    (folder / TABLE).write_text(json.dumps(table))
    refused(folder, tmp_path / "out", "lacks a key")
    for text, told in (("{", "is not JSON"), ("[" * 10**5, "is not JSON"), ("{}", "lacks files, kind, parts")):
        (folder / TABLE).write_text(text)
        refused(folder, tmp_path / "out", told)
    (folder / TABLE).write_text('{"kind": "x", "parts": [], "files": []}')
    refused(folder, tmp_path / "out", "is not a table of contents")


@pytest.mark.parametrize("path", ["../out.txt", "/tmp/out.txt", "a/../../out.txt"])
def test_a_path_out_of_the_folder_is_refused(items, tmp_path, path):
    write(pack([Item(path, items[2].source)]), tmp_path / "parts")
    refused(tmp_path / "parts", tmp_path / "out", "leads out of the folder")


def test_folders_and_files_to_pack(items, tmp_path):
    found = items_of([tmp_path / "in" / "a", tmp_path / "in" / "z.txt"])
    assert [i.path for i in found] == ["a/one.bin", "a/two.bin", "z.txt"]
    with pytest.raises(UserError, match=r"no file or folder .*none to pack"):
        items_of([tmp_path / "none"])
    (tmp_path / "z.txt").write_text("other")
    with pytest.raises(UserError, match=r"two files to pack are called z\.txt"):
        items_of([tmp_path / "z.txt", tmp_path / "in" / "z.txt"])


def test_a_parcel_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/a.zip").write_bytes(bytes(range(256)) * 9000)
    assert main(["pack", "parts", "data"]) == "1 files in 1 parts: parts/contents.json"
    assert main(["unpack", "parts", "there"]) == "1 files in there"
    assert Path("there/data/a.zip").read_bytes() == Path("data/a.zip").read_bytes()
    for words in ([], ["pack", "parts"], ["unpack", "parts"], ["pick", "parts", "data"]):
        with pytest.raises(UserError, match="write 'pack OUT PATH"):
            main(words)
