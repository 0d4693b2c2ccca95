"""Trajectories read back: frames, lengths, and folders that do not fit."""

import json
import math

import pytest
import torch
from tiny import make, relative, wanted_at

import samplers
from dsno.network import DSNOConfig
from dsno.trajectories import MANIFEST, Trajectories, shard_name
from samplers import UserError, sigmas
from samplers.solvers.paths import levels_through, path_of

TIMES = DSNOConfig().times()


@pytest.mark.parametrize("target", ["x0", "state"])
def test_frames_are_those_of_a_direct_solve(tmp_path, teacher, teacher_card, target):
    """16 uniform steps pass every quadratic time, so `sample` and its callback tell what the frames must be."""
    make(tmp_path / "made", teacher_card, solver="ddim", steps=16, target=target, count=5)
    indices, times = [4, 0, 3], [0.0, 0.5625, 0.0625]
    z, labels = samplers.noise(5, indices, teacher.shape), torch.tensor([i % 3 for i in indices])
    told = {}

    def keep(i, sigma, x, denoised):
        if target == "state":
            told[15 - i] = x / math.sqrt(1 + sigma**2)
        else:
            told[16 - i] = denoised  # made where the step began
        told[0] = x

    with torch.no_grad():
        samplers.get("ddim").sample(teacher, z, steps=16, labels=labels, callback=keep)
    paths = Trajectories(tmp_path / "made", teacher.sha256, times, target)
    frames, found = paths.frames(indices)
    assert (frames.dtype, found.dtype) == (torch.float32, torch.int64)
    assert torch.equal(found, labels)
    assert torch.equal(paths.noise(indices), z)
    expected = torch.stack([told[round(16 * t)] for t in times], dim=1)
    assert relative(frames, expected) < 1e-3  # half precision
    assert (expected[:, 1] - expected[:, 2]).abs().max() > 0.1


def test_unlabelled_trajectories(tmp_path, teacher, teacher_card):
    assert make(tmp_path / "made", teacher_card, labels="none", count=2)["labels"] == "none"
    frames, labels = Trajectories(tmp_path / "made", teacher.sha256, TIMES).frames([0, 1])
    assert labels.tolist() == [-1, -1]
    solver, z = samplers.get("dpmpp_2m"), samplers.noise(5, [0, 1], teacher.shape)
    wanted = wanted_at(TIMES, teacher.schedule)
    expected = path_of(solver, teacher, z, levels_through(sigmas(teacher.schedule, 6, solver.grid), wanted), wanted)
    assert relative(frames, expected) < 1e-3


def test_several_grids_share_a_folder(tmp_path, teacher, teacher_card):
    m = make(tmp_path / "made", teacher_card, grids={"quadratic": 4, "uniform": 2}, count=2)
    assert m["times"] == [0.5625, 0.5, 0.25, 0.0625, 0.0]
    for config in (DSNOConfig(), DSNOConfig(points=2, grid="uniform")):
        frames, _ = Trajectories(tmp_path / "made", teacher.sha256, config.times()).frames([1])
        assert frames.shape == (1, config.points, 1, 8, 8)


def test_count_limits_the_length(own, teacher):
    (own / shard_name(2)).unlink()  # not needed for the first five
    paths = Trajectories(own, teacher.sha256, TIMES, count=5)
    assert len(paths) == 5
    assert paths.frames([4])[0].shape == (1, 4, 1, 8, 8)


def test_all_are_used_where_no_count_is_given(folder, teacher):
    assert len(Trajectories(folder, teacher.sha256, TIMES)) == 10


def edit(folder, **changes):
    m = json.loads((folder / MANIFEST).read_text()) | changes
    (folder / MANIFEST).write_text(json.dumps({k: v for k, v in m.items() if v is not None}))


def flip(path):
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: (f / shard_name(1)).unlink(), "shard-00001.safetensors is missing"),
        (lambda f: (f / shard_name(2)).write_bytes((f / shard_name(2)).read_bytes()[:-5]), "SHA-256 differs"),
        (lambda f: flip(f / shard_name(0)), "shard-00000.safetensors is not the file that was written"),
        (lambda f: (f / MANIFEST).unlink(), "no trajectories in .*bench train trajectories"),
        (lambda f: (f / MANIFEST).write_text("{"), "trajectories.json cannot be read"),
        (lambda f: (f / MANIFEST).write_text("[1]"), "is not a manifest of trajectories"),
        (lambda f: edit(f, kind="teacher"), "is not a manifest of trajectories"),
        (lambda f: edit(f, times=None), "lacks .*times"),
        (lambda f: edit(f, shards=None), "lacks .*shards"),
        (lambda f: edit(f, teacher=None), "lacks .*teacher"),
        (lambda f: edit(f, shards=[]), "holds 0 trajectories"),
        (lambda f: edit(f, teacher={"name": "other", "sha256": "f" * 64}), "trajectories of teacher other .fffff"),
    ],
)
def test_a_folder_that_does_not_fit_is_one_line(own, teacher, damage, told):
    damage(own)
    with pytest.raises(UserError, match=told) as e:
        Trajectories(own, teacher.sha256, TIMES)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"teacher_sha256": "0" * 64}, "the student's is 000000000000"),
        ({"teacher_sha256": None}, "the student's is None"),
        ({"times": DSNOConfig(grid="uniform").times()}, "the student needs 0.75 too"),
        ({"target": "state"}, "holds target 'x0', the recipe wants 'state'"),
        ({"count": 11}, "holds 10 trajectories, the recipe wants 11"),
        ({"count": 0}, "the recipe wants 0"),
    ],
)
def test_a_student_that_does_not_fit_is_one_line(folder, teacher, asked, told):
    with pytest.raises(UserError, match=told) as e:
        Trajectories(folder, **{"teacher_sha256": teacher.sha256, "times": TIMES} | asked)
    assert "\n" not in str(e.value)


def test_a_truncated_shard_is_one_line_without_hashes_too(own, teacher):
    (own / shard_name(0)).write_bytes((own / shard_name(0)).read_bytes()[:50])
    with pytest.raises(UserError):
        Trajectories(own, teacher.sha256, TIMES, verify=False)


def test_trajectories_near_a_device_are_those_on_disk(folder, teacher, monkeypatch):
    far, near = (Trajectories(folder, teacher.sha256, TIMES, count=8) for _ in range(2))
    near.near(torch.device("cpu"))
    near._files = []  # nothing is read from disk any more
    chosen = [7, 0, 3, 3]
    assert torch.equal(near.noise(chosen), far.noise(chosen))
    for mine, theirs in zip(near.frames(chosen), far.frames(chosen), strict=True):
        assert torch.equal(mine, theirs)
        assert mine.dtype == theirs.dtype
    monkeypatch.setattr("dsno.trajectories.RESIDENT", 100)
    far.near(torch.device("cpu"))
    assert far._kept is None  # too large for the device
