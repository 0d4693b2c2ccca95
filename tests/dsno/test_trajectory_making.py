"""Trajectories made shard by shard: what the manifest says, what is made again, what is refused."""

import json

import pytest
import torch
from tiny import CHECKED, in_two_processes, make, making, relative, wanted_at, write_recipe, write_teacher

import dsno.trajectory_making
import samplers
from dsno.network import DSNOConfig
from dsno.trajectories import MANIFEST, Trajectories, shard_name
from dsno.trajectory_making import SECONDS, Maker, TrajectoriesRecipe, TrajectoryMaking, seconds_taken
from samplers import UserError, sigmas
from samplers.files import sha256
from samplers.solvers.paths import levels_through, path_of
from samplers.time_limit import TimeUpError, time_limit

TIMES = DSNOConfig().times()


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
        ({"solver": "ddpm"}, "'ddpm' has no trajectory that is a function of the noise; name a deterministic solver"),
        ({"solver": "ddim:eta=0.5"}, "has no trajectory"),
        ({"solver": "dsno"}, "has no trajectory"),
        ({"solver": "ddin"}, "unknown sampler 'ddin'; did you mean 'ddim'"),
        ({"target": "x1"}, "unknown target 'x1'"),
        ({"labels": "balance"}, "unknown labels 'balance'; did you mean 'balanced'"),
        ({"grids": {"quadratics": 4}}, "unknown grid 'quadratics'"),
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
    maker = Maker(teacher, TrajectoriesRecipe(**making(teacher_card)))
    together, labels = maker.solve(range(10))
    for i in (0, 3, 9):
        alone, label = maker.solve(range(i, i + 1))
        assert relative(alone[0], together[i]) < 1e-5
        assert int(label) == int(labels[i]) == i % 3


@pytest.mark.parametrize("solver", ["dpmpp_2m", "ddim", "heun", "dpm_solver_2", "dpm_solver_3", "unipc"])
def test_calls_are_those_of_the_network(teacher, teacher_card, solver):
    """A student's card charges `calls` teacher forwards for each trajectory."""
    maker, calls = Maker(teacher, TrajectoriesRecipe(**making(teacher_card, solver=solver))), []
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
    code = "from pathlib import Path\nt.TrajectoryMaking.train('recipe.yaml', None, Path('two'), quiet=True)"
    in_two_processes(code, tmp_path)
    assert json.loads((tmp_path / "two" / MANIFEST).read_text()) == json.loads((folder / MANIFEST).read_text())
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == sorted(p.name for p in folder.iterdir())


def test_a_time_limit_stops_after_a_shard(teacher_card, folder, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.yaml", trajectories=making(teacher_card))
    for made in (1, 2):
        with pytest.raises(TimeUpError), time_limit(0):
            TrajectoryMaking.train(recipe, None, tmp_path / "out", quiet=True)
        assert len(list((tmp_path / "out").glob("shard-*"))) == made
    with time_limit(0):
        TrajectoryMaking.train(recipe, None, tmp_path / "out", quiet=True)
    assert (tmp_path / "out" / MANIFEST).read_bytes() == (folder / MANIFEST).read_bytes()
