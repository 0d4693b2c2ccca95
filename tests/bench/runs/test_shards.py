"""A plan's cells in parts, and the run that all of them are."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from many import measured

import bench
from bench.runs.cells import cells
from bench.runs.plan import make_plan
from bench.runs.shards import Shard, merge
from samplers import UserError

PLAN = make_plan(samplers=["ddim", "heun", "ddim@50", "dpmpp_2m"], calls=[1, 5, 9])


@given(st.integers(1, 9))
def test_shards_are_disjoint_and_complete_and_alike(count):
    planned = list(cells(PLAN))
    parts = [Shard.parse(f"{i}/{count}").of(planned) for i in range(1, count + 1)]
    assert sorted((c for p in parts for c in p), key=planned.index) == planned
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert parts[0] == [c for c in planned if c in parts[0]]


def test_the_dearest_cell_goes_first():
    assert [c.steps for c in Shard(1, len(cells(PLAN))).of(list(cells(PLAN)))] == [50]


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "1/2\n", "9" * 10**5, "1/9999999"])
def test_text_that_is_no_shard(text):
    with pytest.raises(UserError, match="no I/N") as e:
        Shard.parse(text)
    assert len(str(e.value)) < 200


def test_more_shards_than_cells():
    with pytest.raises(UserError, match="20 shards of 10 cells; write at most 10"):
        Shard(1, 20).of(list(cells(PLAN)))


@pytest.fixture
def halves(small: dict, tmp_path: Path) -> list[Path]:
    folders = [tmp_path / f"half{i}" for i in (1, 2)]
    for i, folder in enumerate(folders, 1):
        assert len(bench.run(out=folder, shard=f"{i}/2", quiet=True, **small)) == 2
    return folders


def test_merged_shards_are_one_process_s_run(small, halves, tmp_path):
    bench.run(out=tmp_path / "one", quiet=True, **small)
    merge(halves[::-1], tmp_path / "merged")
    one, merged = tmp_path / "one", tmp_path / "merged"
    assert measured(merged) == measured(one)
    order = [[json.loads(line)["cell"] for line in (f / "records.jsonl").read_text().splitlines()] for f in (one, merged)]
    assert order[0] == order[1]
    for name in ("plan.yaml", "identity.json", "samples/reference.png"):
        assert (merged / name).read_bytes() == (one / name).read_bytes()
    assert len((merged / "sessions.jsonl").read_text().splitlines()) == 2
    before = (merged / "records.jsonl").read_bytes()
    merge(halves, merged)  # again: nothing is there twice
    assert (merged / "records.jsonl").read_bytes() == before
    assert len(bench.run(out=merged, quiet=True, **small)) == 4  # and the plan is found done
    assert (merged / "records.jsonl").read_bytes() == before


def test_what_cannot_be_merged(small, halves, tmp_path):
    one, two = halves
    out = tmp_path / "out"

    def said(*folders: Path) -> str:
        with pytest.raises(UserError) as e:
            merge(folders, out)
        assert not out.exists()
        return str(e.value)

    assert said(one) == "of the plan's 2 shards 2/2 missing; name their runs too"
    assert f"shard 1/2 is there twice, in {one} and {one}; leave out one" in said(one, two, one)
    assert "no run at" in said(one, tmp_path)
    assert "half2 holds this plan's run with another shard" in refused(
        lambda: bench.run(out=two, shard="1/2", quiet=True, **small)
    )
    bench.run(out=tmp_path / "whole", quiet=True, **small)
    assert "is no run of a shard" in said(one, tmp_path / "whole")
    bench.run(out=tmp_path / "other", shard="2/2", quiet=True, **small | {"seed": 7})
    assert "of different plans or numbers of shards" in said(one, tmp_path / "other")
    assert said() == "no runs to merge; name the folders of all shards of a plan"
    identity = two / "identity.json"
    kept = identity.read_text()
    identity.write_text(json.dumps(json.loads(kept) | {"students": ["a"]}))
    assert "is no run of a shard" in said(one, two)
    identity.write_text(kept.replace("cpu,", "cuda,"))
    assert "was run with another device than" in said(one, two)
    identity.write_text(kept)
    lines = (two / "records.jsonl").read_text().splitlines(keepends=True)
    (two / "records.jsonl").write_text(lines[0].replace('"seed": 0', '"seed": 1') + lines[1])
    assert f"half2: {json.loads(lines[0])['cell']} was edited by hand; restore its line" in said(one, two)
    (two / "records.jsonl").write_text(lines[0])
    assert "half2 lacks 1 of its 2 cells; run it to its end first" in said(one, two)


def refused(call) -> str:
    with pytest.raises(UserError) as e:
        call()
    return str(e.value)


def test_a_shard_on_a_cluster_is_refused(small, tmp_path):
    assert "leave out one" in refused(lambda: bench.run(out=tmp_path / "x", shard="1/2", on="ray", quiet=True, **small))
    assert "unknown place to run on 'slurm'" in refused(lambda: bench.run(out=tmp_path / "x", on="slurm", quiet=True, **small))
