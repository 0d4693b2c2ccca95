"""What of a campaign goes home when not all of it fits, and what never does."""

from pathlib import Path

import pytest
import torch
from changed import changed
from rehearsal import begin

import bench.profiling.profiler
import bench.studies.export
from bench.studies.export import FILES, PARCEL, PART
from bench.studies.parts import MIB, read_table
from bench.studies.study import Campaign
from samplers.models.weights import save_tensors


def worked(recipe: Path, out: Path, sizes: dict[str, int], begun: dict[str, int]) -> Campaign:
    """A campaign with made-up results: stages done, and checkpoints of those begun, of so many bytes."""
    campaign = begin(recipe, out)
    for stage, size in sizes.items():
        folder = campaign.folder(stage)
        folder.mkdir(parents=True)
        (folder / "made-1.safetensors").write_bytes(torch.randint(256, (size,), dtype=torch.uint8).numpy().tobytes())
        campaign.done.append(stage)
    for stage, size in begun.items():
        folder = campaign.folder(stage)
        folder.mkdir(parents=True)
        (folder / "log.jsonl").write_text("")
        save_tensors(folder / "checkpoint.safetensors", {"raw/w": torch.randn(size // 4)})
    campaign._keep()
    return campaign


def test_what_does_not_fit_waits_until_the_rest_is_at_home(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bench.studies.export, "PART", 100_000)
    monkeypatch.setattr(bench.studies.export, "PARCEL", 400_000)
    sizes = {"extractor": 150_000, "teacher": 150_000, "progressive": 190_000}
    work = worked(recipe, tmp_path / "a", sizes, {"consistency": 120_000})
    work.write()
    table = read_table(work.export)
    assert table["left_out"][0].endswith("cifar10-consistency/checkpoint.safetensors.slim")
    assert table["left_out"][1:] == ["consistency", "progressive"]
    assert table["campaign"]["done"] == ["extractor", "teacher"]
    assert sum(p.stat().st_size for p in work.export.glob("part-*")) <= 400_000
    home = work.export.rename(tmp_path / "home")
    work.start_from(home)  # the same machine, which is further than the parts; these are at home now
    assert work.done == list(sizes)
    work.write()
    table = read_table(work.export)
    assert table["left_out"] == []
    assert {r["file"] for r in table["parts"] if r["held"]} <= {p.name for p in home.iterdir()}
    for p in work.export.iterdir():
        p.replace(home / p.name)
    next_one = begin(recipe, tmp_path / "b")
    next_one.start_from(home)
    assert next_one.done == list(sizes)


def test_a_ladder_that_does_not_fit_whole_stays_without_its_checkpoint(recipe: Path, tmp_path: Path, monkeypatch):
    """Its finished rungs go home; where these do not fit, nothing of it: cards without weights would be of no use."""
    work = worked(recipe, tmp_path / "a", {"extractor": 100_000}, {"progressive": 120_000})
    folder = work.folder("progressive")
    (folder / "name-4.json").write_text("{}")
    (folder / "name-4.safetensors").write_bytes(torch.randint(256, (150_000,), dtype=torch.uint8).numpy().tobytes())
    for allowed, left in ((300_000, ["training/cifar10-progressive/checkpoint.safetensors.slim"]), (200_000, None)):
        monkeypatch.setattr(bench.studies.export, "PARCEL", allowed)
        work.write()
        table = read_table(work.export)
        mine = [f["path"] for f in table["files"] if "progressive" in f["path"]]
        if left is None:
            assert (table["left_out"][-1], mine) == ("progressive", [])
        else:
            assert table["left_out"] == left
            assert {Path(p).name for p in mine} == {"log.jsonl", "name-4.json", "name-4.safetensors"}


def test_a_ladder_travels_with_the_rungs_that_are_asked_for_and_the_last(recipe: Path, tmp_path: Path):
    work = begin(recipe, tmp_path / "a")
    folder = work.folder("progressive")
    for steps in (8, 4, 2):
        (folder / str(steps)).mkdir(parents=True)
        (folder / f"name-{steps}.json").write_text("{}")
        (folder / f"name-{steps}.safetensors").write_bytes(b"weights")
        (folder / str(steps) / "log.jsonl").write_text("")
    packed = {Path(i.path).name for i in work._items("progressive")}
    assert packed == {"name-8.json", "name-4.json", "name-2.json", "name-2.safetensors", "log.jsonl"}
    work.settings = changed(work.settings, rungs=(4,))
    work.done.append("progressive")
    assert {"name-4.safetensors", "name-2.safetensors"} <= {Path(i.path).name for i in work._items("progressive")}


def test_a_mode_that_was_profiled_goes_home_before_the_others(recipe: Path, tmp_path: Path):
    work = begin(recipe, tmp_path / "a")
    for mode in ("eager", "compile"):
        (work.folder("profile") / mode).mkdir(parents=True)
        (work.folder("profile") / mode / "profile.md").write_text("")
    (work.folder("profile") / "eager" / "profile.json").write_text("{}")
    work.write()
    b = begin(recipe, tmp_path / "b")
    b.start_from(work.export)
    assert sorted(p.name for p in b.folder("profile").rglob("*.*")) == ["profile.json", "profile.md"]


def test_the_way_home_is_what_the_issue_says():
    assert (PART, PARCEL, FILES) == (16 * MIB, 64 * MIB, 8)
