"""Trajectories: a solver's path at chosen times, made shard by shard, and read back."""

import json
import math
import shutil
from itertools import pairwise

import pytest
import torch
from tiny import CHECKED, Gaussian, in_two_processes, making, relative, write_recipe, write_teacher

import dsno.trajectory_making
import samplers
from dsno.network import DSNOConfig
from dsno.times import time_points
from dsno.trajectories import MANIFEST, Trajectories, shard_name
from dsno.trajectory_making import SECONDS, Maker, seconds_taken, train
from samplers import CosineSchedule, UserError, load_teacher, sigmas
from samplers.paths import levels_through, path_of
from samplers.time_limit import TimeUpError, time_limit
from samplers.weights import sha256

SCHEDULE = CosineSchedule(0.002, 80.0)
TIMES = DSNOConfig().times()


def wanted_at(times: list[float], schedule: CosineSchedule = SCHEDULE) -> list[float]:
    return [schedule.sigma(t) if t > 0 else 0.0 for t in times]


# Levels


@pytest.mark.parametrize("wanted_grid", [("quadratic", 4), ("uniform", 4), ("quadratic", 8), ("uniform", 1)])
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8, 32, 100])
@pytest.mark.parametrize("grid", ["uniform_t", "quadratic", "logsnr", "karras"])
def test_levels_contain_what_is_wanted(grid, steps, wanted_grid):
    wanted = wanted_at(time_points(*wanted_grid))
    levels = sigmas(SCHEDULE, steps, grid)
    through = levels_through(levels, wanted)
    assert set(wanted) <= set(through)
    assert all(a > b for a, b in pairwise(through))
    assert (through[0], through[-1]) == (levels[0], 0.0)
    assert len(levels) <= len(through) <= len(levels) + len(wanted) - 1
    assert set(through) <= set(levels) | set(wanted)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([0.0], [16.0, 4.0, 2.0, 1.0, 0.0]),
        ([2.6, 0.0], [16.0, 4.0, 2.6, 1.0, 0.0]),  # 2 is nearest
        ([2.9, 0.0], [16.0, 2.9, 2.0, 1.0, 0.0]),  # 4 is, in the logarithm
        ([2.6, 2.5], [16.0, 4.0, 2.6, 2.5, 1.0, 0.0]),  # the node is taken: one is added
        ([12.0], [16.0, 12.0, 4.0, 2.0, 1.0, 0.0]),  # the start stays
        ([0.01], [16.0, 4.0, 2.0, 0.01, 0.0]),
        ([4.0, 1.0, 0.0], [16.0, 4.0, 2.0, 1.0, 0.0]),
        ([1.2, 1.0], [16.0, 4.0, 2.0, 1.2, 1.0, 0.0]),
    ],
)
def test_the_nearest_node_moves(wanted, expected):
    assert levels_through([16.0, 4.0, 2.0, 1.0, 0.0], wanted) == expected


def test_times_that_are_nodes_change_nothing():
    levels = sigmas(SCHEDULE, 32, "uniform_t")
    assert levels_through(levels, wanted_at(TIMES)) == levels


# Paths


GAUSSIAN = Gaussian(torch.tensor([0.5, -0.3, 0.8])[:, None, None], torch.tensor([0.3, 0.8, 1.5])[:, None, None])


def path_errors(spec: str, target: str, steps: int) -> list[float]:
    """Largest error at each time against the closed form."""
    solver = samplers.get(spec)
    z = samplers.noise(0, range(4), GAUSSIAN.shape, dtype=torch.float64)
    wanted = wanted_at(TIMES)
    levels = levels_through(sigmas(SCHEDULE, steps, solver.grid), wanted)
    found = path_of(solver, GAUSSIAN, z, levels, wanted, target=target)
    exact = [GAUSSIAN.state(z, s) / math.sqrt(1 + s * s) if target == "state" else GAUSSIAN.image(z, s) for s in wanted[:-1]]
    exact.append(GAUSSIAN.image(z, levels[-2]))  # the solver's image is its prediction at the last level above 0
    assert found.shape == (4, len(TIMES), 3, 1, 1)
    return [float((found[:, i] - e).abs().max()) for i, e in enumerate(exact)]


@pytest.mark.parametrize("target", ["x0", "state"])
@pytest.mark.parametrize(("spec", "order", "error"), [("ddim", 1, 8e-2), ("heun", 2, 6e-3), ("dpmpp_2m", 2, 3e-3)])
def test_path_is_the_closed_form(spec, order, error, target):
    coarse, fine = (path_errors(f"{spec}:grid=logsnr", target, n) for n in (80, 160))
    assert max(coarse) < error
    for a, b in zip(coarse, fine, strict=True):
        assert math.log2(a / b) == pytest.approx(order, abs=0.3)


def test_path_ends_in_the_solvers_image():
    solver, z = samplers.get("heun"), samplers.noise(0, range(2), GAUSSIAN.shape, dtype=torch.float64)
    levels = sigmas(SCHEDULE, 7, "karras")
    image = solver.integrate(GAUSSIAN, z, levels)
    for target in ("x0", "state"):
        assert torch.equal(path_of(solver, GAUSSIAN, z, levels, [levels[3], 0.0], target=target)[:, 1], image)


# Making


def make(folder, teacher_card, **changes):
    recipe = write_recipe(folder.parent / f"{folder.name}.yaml", trajectories=making(teacher_card, **changes))
    return json.loads(train(recipe, None, folder, quiet=True).read_text())


@pytest.fixture
def own(folder, tmp_path):
    """A copy of the ten trajectories, to be changed."""
    return shutil.copytree(folder, tmp_path / "own")


def written(folder) -> dict[str, tuple]:
    """What changes when a shard is written again."""
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.glob("shard-*")}


def test_manifest_says_what_is_there(folder, teacher):
    m = json.loads((folder / MANIFEST).read_text())
    assert {k: m[k] for k in ("kind", "solver", "solver_grid", "steps", "target", "seed", "labels", "count")} == {
        "kind": "trajectories",
        "solver": "dpmpp_2m",
        "solver_grid": "uniform_t",
        "steps": 6,
        "target": "x0",
        "seed": 5,
        "labels": "balanced",
        "count": 10,
    }
    assert m["teacher"] == {"name": "tiny", "sha256": teacher.sha256}
    assert (m["grids"], m["times"], m["shape"]) == ({"quadratic": 4}, [0.5625, 0.25, 0.0625, 0.0], [1, 8, 8])
    assert [(s["file"], s["first"], s["count"]) for s in m["shards"]] == [
        ("shard-00000.safetensors", 0, 4),
        ("shard-00001.safetensors", 4, 4),
        ("shard-00002.safetensors", 8, 2),
    ]
    assert [s["sha256"] for s in m["shards"]] == [sha256(folder / s["file"]) for s in m["shards"]]
    assert sorted(p.name for p in folder.iterdir()) == sorted([SECONDS, *(s["file"] for s in m["shards"]), MANIFEST])


def test_seconds_are_those_of_all_shards(folder, own):
    names = [shard_name(k) for k in range(3)]
    rows = [json.loads(line) for line in (folder / SECONDS).read_text().splitlines()]
    assert [r["file"] for r in rows] == names
    assert seconds_taken(folder, names) == pytest.approx(sum(r["seconds"] for r in rows))
    with open(own / SECONDS, "a") as f:  # made again, then killed while it wrote
        f.write(f'{{"file": "{names[1]}", "seconds": 100.0}}\n{{"file": "{names[2]}", "sec')
    assert seconds_taken(own, names) == pytest.approx(rows[0]["seconds"] + 100 + rows[2]["seconds"])
    assert seconds_taken(own, [*names, shard_name(3)]) is None
    (own / SECONDS).unlink()
    assert seconds_taken(own, names) is None


def test_manifest_states_the_solvers_error(folder, teacher):
    """Against four times the steps, over the first noises (64, here fewer)."""
    m = json.loads((folder / MANIFEST).read_text())["error"]
    z, labels, solver = samplers.noise(5, range(CHECKED), teacher.shape), torch.arange(CHECKED) % 3, samplers.get("dpmpp_2m")
    wanted = wanted_at(TIMES, teacher.schedule)
    coarse, fine = (
        path_of(solver, teacher, z, levels_through(sigmas(teacher.schedule, n, solver.grid), wanted), wanted, labels=labels)
        for n in (6, 24)
    )
    expected = [float((coarse - fine)[:, i].norm() / fine[:, i].norm()) for i in range(4)]
    assert m["relative_rmse"] == pytest.approx(expected, rel=1e-3)
    assert (m["against"], m["trajectories"]) == ("dpmpp_2m, 24 steps", CHECKED)


def test_what_is_made_is_not_made_again(own, teacher_card):
    before, text = written(own), (own / MANIFEST).read_text()
    make(own, teacher_card)
    assert written(own) == before
    assert (own / MANIFEST).read_text() == text


@pytest.mark.parametrize("damage", ["delete", "truncate", "empty"])
def test_only_a_damaged_shard_is_made_again(own, folder, teacher_card, damage):
    path, before = own / shard_name(1), written(own)
    if damage == "delete":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: -9 if damage == "truncate" else 0])
    make(own, teacher_card)
    after = written(own)
    assert [k for k in after if after[k] != before[k]] == [shard_name(1)]
    for p in (*folder.glob("shard-*"), folder / MANIFEST):
        assert (own / p.name).read_bytes() == p.read_bytes()


def test_more_may_be_asked_for_later(tmp_path, folder, teacher_card):
    make(tmp_path / "grown", teacher_card, count=8)
    before = written(tmp_path / "grown")
    make(tmp_path / "grown", teacher_card)
    assert written(tmp_path / "grown").items() >= before.items()
    for p in (*folder.glob("shard-*"), folder / MANIFEST):
        assert (tmp_path / "grown" / p.name).read_bytes() == p.read_bytes()


@pytest.mark.parametrize("change", [{"seed": 6}, {"steps": 7}, {"solver": "heun"}, {"target": "state"}, {"labels": "none"}])
def test_another_recipe_in_the_same_folder(own, teacher_card, change):
    before = written(own)
    with pytest.raises(UserError, match="is of other trajectories; choose another --out") as e:
        make(own, teacher_card, **change)
    assert "\n" not in str(e.value)
    assert written(own) == before


def test_another_teacher_in_the_same_folder(own, tmp_path):
    with pytest.raises(UserError, match="is of other trajectories"):
        make(own, write_teacher(tmp_path, seed=1))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"solver": "ddpm"}, "ddpm has no trajectory that is a function of the noise; name a deterministic solver"),
        ({"solver": "ddim:eta=0.5"}, "has no trajectory"),
        ({"solver": "dsno"}, "has no trajectory"),
        ({"solver": "ddin"}, "unknown sampler 'ddin'; did you mean 'ddim'"),
        ({"target": "x1"}, "unknown target 'x1'"),
        ({"labels": "balance"}, "unknown labels 'balance'; did you mean 'balanced'"),
        ({"grids": {"quadratics": 4}}, "unknown time grid 'quadratics'"),
        ({"teacher": "mnits"}, "unknown teacher 'mnits'"),
    ],
)
def test_a_recipe_that_cannot_be(tmp_path, teacher_card, change, told):
    with pytest.raises(UserError, match=told) as e:
        make(tmp_path / "new", teacher_card, **change)
    assert "\n" not in str(e.value)
    assert not (tmp_path / "new").exists()


def test_a_trajectory_does_not_depend_on_shard_or_batch(tmp_path, folder, teacher_card, teacher):
    other = make(tmp_path / "other", teacher_card, shard=7, batch=5)
    assert [s["count"] for s in other["shards"]] == [7, 3]
    (a, labels), (b, others) = (Trajectories(f, teacher.sha256, TIMES).frames(range(10)) for f in (folder, tmp_path / "other"))
    assert torch.equal(labels, others)
    assert ((a - b).abs() <= 2**-10 * a.abs() + 1e-5).all()  # at most the next half-precision number
    assert (a == b).float().mean() > 0.9
    maker = Maker(teacher, making(teacher_card))
    together, labels = maker.solve(range(10))
    for i in (0, 3, 9):
        alone, label = maker.solve(range(i, i + 1))
        assert relative(alone[0], together[i]) < 1e-5
        assert int(label) == int(labels[i]) == i % 3


@pytest.mark.parametrize("solver", ["dpmpp_2m", "ddim", "heun", "dpm_solver_2", "dpm_solver_3", "unipc"])
def test_calls_are_those_of_the_network(teacher, teacher_card, solver):
    """A student's card charges `calls` teacher forwards for each trajectory."""
    maker, calls = Maker(teacher, making(teacher_card, solver=solver)), []
    hook = teacher.network.register_forward_pre_hook(lambda *_: calls.append(1))
    maker.solve(range(2))
    hook.remove()
    assert len(calls) == maker.identity["calls"]


def test_a_path_that_diverged_is_not_kept(tmp_path, teacher_card, monkeypatch):
    def diverged(*args, **options):
        frames = path_of(*args, **options)
        frames[1, 2, 0, 0, 0] = 1e5  # more than half precision holds
        return frames

    monkeypatch.setattr(dsno.trajectory_making, "path_of", diverged)
    with pytest.raises(UserError, match=r"dpmpp_2m with .* diverged"):
        make(tmp_path / "new", teacher_card)
    assert not (tmp_path / "new").exists()


def test_two_processes_make_the_same(tmp_path, folder, teacher_card):
    write_recipe(tmp_path / "recipe.yaml", trajectories=making(teacher_card))
    code = "from pathlib import Path\nt.train('recipe.yaml', None, Path('two'), quiet=True)"
    in_two_processes(code, tmp_path)
    assert json.loads((tmp_path / "two" / MANIFEST).read_text()) == json.loads((folder / MANIFEST).read_text())
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == sorted(p.name for p in folder.iterdir())


# Reading


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
    for config in (DSNOConfig(), DSNOConfig(2, "uniform")):
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


def test_teacher_of_the_trajectories_may_be_named_by_path(teacher_card, teacher):
    assert load_teacher(teacher_card).sha256 == teacher.sha256


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


def test_a_time_limit_stops_after_a_shard(teacher_card, folder, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.yaml", trajectories=making(teacher_card))
    for made in (1, 2):
        with pytest.raises(TimeUpError), time_limit(0):
            train(recipe, None, tmp_path / "out", quiet=True)
        assert len(list((tmp_path / "out").glob("shard-*"))) == made
    with time_limit(0):
        train(recipe, None, tmp_path / "out", quiet=True)
    assert (tmp_path / "out" / MANIFEST).read_bytes() == (folder / MANIFEST).read_bytes()
