from pathlib import Path

import pytest
import yaml

import bench
import bench.runs.plan
from bench.records.store import read_records
from bench.runs.cells import Cell, cells
from bench.runs.plan import PLANS, Plan, load_plan
from samplers import UserError
from samplers.training.recipe import RECIPES


def test_budgets_become_the_most_steps_within_them():
    plan = Plan(samplers=("ddim", "heun", "dpm_solver_3"), calls=(1, 2, 6))
    found = {(c.sampler, c.steps) for c in cells(plan)}
    # heun makes 2N - 1 calls, dpm_solver_3 3N - 2: two budgets that allow the same steps are one cell.
    assert found == {("ddim", 1), ("ddim", 2), ("ddim", 6), ("heun", 1), ("heun", 3), ("dpm_solver_3", 1), ("dpm_solver_3", 2)}


def test_steps_replace_budgets_and_grid_reaches_every_solver():
    plan = Plan(samplers=("ddim", "heun:grid=logsnr"), steps=(3,), grid="karras")
    assert [(c.sampler, c.steps) for c in cells(plan)] == [("ddim:grid=karras", 3), ("heun:grid=logsnr", 3)]


def test_a_sampler_may_bring_its_own_steps():
    plan = Plan(samplers=("ddim", "ddim@50"), calls=(4,))
    assert [(c.sampler, c.steps) for c in cells(plan)] == [("ddim", 4), ("ddim", 50)]
    with pytest.raises(UserError, match="step count after the @"):
        cells(Plan(samplers=("ddim@many",)))


def test_cell_names_are_distinct_file_names(tmp_path: Path):
    paths = ("runs/a/x.json", "runs_a/x.json", "runs/A/x.json", "deep/" * 60 + "x.json")
    found = [Cell(f"dsno:student={path}", 1, 64, "fp32", "eager").id for path in paths]
    found += [c.id for c in cells(Plan(samplers=("ddim", "ddim:eta=0.5", "ddim:grid=karras"), calls=(2, 3)))]
    for name in found:
        (tmp_path / f"{name}.png").touch(exist_ok=False)
    assert len({n.lower() for n in found}) == len(found) == 10
    assert all(len(n) <= 120 and ":" not in n for n in found)
    assert {"ddim_n2_b64_fp32_eager", "ddim_n3_b64_fp32_eager"} < set(found), "as committed runs have them"


@pytest.mark.parametrize(
    "run", sorted((Path(__file__).parents[3] / "results").glob("*/plan.yaml")), ids=lambda p: p.parent.name
)
def test_committed_records_are_of_cells_of_their_plans(run: Path):
    """Whatever their cells were called: a run that goes on measures none of them again."""
    done = [Cell.of(r) for r in read_records(run.parent / "records.jsonl")]
    assert len(set(done)) == len(done)
    assert set(done) <= set(cells(bench.make_plan(run)))


def test_yaml_round_trip(tmp_path: Path):
    plan = Plan(samplers=("unipc",), images=77, extractor="x", grid="karras")
    (tmp_path / "plan.yaml").write_text(plan.to_yaml())
    assert bench.make_plan(tmp_path / "plan.yaml") == plan


def test_keys_that_came_later_leave_old_runs_their_names_and_files():
    plan = Plan(samplers=("ddim",), seed=3)
    assert plan.run_id() == "mnist32-c13f4e55"
    assert not set(yaml.safe_load(plan.to_yaml())) & {"mode", "time_precision", "time_budget", "sweep", "cold_start"}
    later = {"mode": "compile", "time_precision": 0.02, "time_budget": 9.0, "sweep": (1, 4), "cold_start": True}
    assert len({plan.run_id(), *(Plan(samplers=("ddim",), seed=3, **{k: v}).run_id() for k, v in later.items())}) == 6


def test_keys_of_time_come_back_from_yaml(tmp_path: Path):
    (tmp_path / "plan.yaml").write_text("time_precision: 2%\ntime_budget: 9\nsweep: [1, 4]\ncold_start: true\nmode: compile\n")
    plan = bench.make_plan(tmp_path / "plan.yaml")
    assert (plan.time_precision, plan.time_budget, plan.sweep, plan.cold_start) == (0.02, 9.0, (1, 4), True)
    assert {c.mode for c in cells(plan)} == {"compile"}
    (tmp_path / "again.yaml").write_text(plan.to_yaml())
    assert bench.make_plan(tmp_path / "again.yaml") == plan


def test_arguments_go_over_the_file(tmp_path: Path):
    (tmp_path / "plan.yaml").write_text("images: 95\nseed: 3\n")
    plan = bench.make_plan(tmp_path / "plan.yaml", images=99)
    assert (plan.images, plan.seed) == (99, 3)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("images: 5\nsampler: ddim\n", "line 2: unknown key 'sampler'; did you mean 'samplers'?"),
        ("seed: 1\n\nimages: many\n", "line 3: images must be a whole number, not 'many'"),
        ("calls: [1, 2.5]\n", "line 1: calls must be a whole number, not 2.5"),
        ("images: true\n", "line 1: images must be a whole number, not True"),
        ("- ddim\n", "a plan is a list of 'key: value' lines"),
        ("images: [1\n", "is not valid YAML"),
    ],
)
def test_a_wrong_plan_file_is_told_with_line_and_key(tmp_path: Path, text: str, told: str):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as e:
        load_plan(path)
    assert told in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"images": 1}, "images must be at least 2"),
        ({"images": 50}, "batch_size 64 is more than the 50 images"),
        ({"seed": 2**32}, "seed must be below 2^32"),
        ({"precision": "fp16"}, "unknown precision 'fp16'"),
        ({"labels": "balance"}, "did you mean 'balanced'?"),
        ({"grid": "kerras"}, "did you mean 'karras'?"),
        ({"calls": (0,)}, "must be 1 or more"),
        ({"samplers": ()}, "no sampler asked for"),
        ({"mode": "compiled"}, "unknown mode 'compiled'; did you mean 'compile'?"),
        ({"time_precision": 0}, "time_precision must lie between 0 and 1"),
        ({"time_precision": "2"}, "time_precision must lie between 0 and 1 (0.02 is 2 %), got 2"),
        ({"time_precision": "two"}, "time_precision must be a number, or a percentage, not 'two'"),
        ({"time_precision": True}, "time_precision must be a number, or a percentage, not True"),
        ({"time_budget": 0}, "time_budget must be more than 0 seconds"),
        ({"time_budget": float("nan")}, "time_budget must be more than 0 seconds"),
        ({"sweep": (4, 1)}, "sweep must be increasing batch sizes"),
        ({"sweep": (0, 1)}, "sweep must be increasing batch sizes"),
        ({"cold_start": "yes"}, "cold_start must be true or false"),
        ({"picture": 1}, "unknown argument 'picture'"),
    ],
)
def test_wrong_values_are_refused(options: dict, told: str):
    with pytest.raises(UserError, match=r"^[^\n]*$") as e:
        bench.make_plan(**options)
    assert told in str(e.value)


def test_all_means_those_that_can_take_the_steps():
    found = {c.sampler for c in cells(bench.make_plan(samplers=("all",), steps=(1, 4)))}
    assert {"dsno", "ddim"} <= found
    assert {c.steps for c in cells(bench.make_plan(samplers=("all",), steps=(1, 4))) if c.sampler == "dsno"} == {1}
    with pytest.raises(UserError, match="dsno cannot take 4 steps; it takes 1"):
        cells(bench.make_plan(samplers=("dsno", "ddim"), steps=(4,)))


@pytest.mark.parametrize("path", sorted(PLANS.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_plans_are_whole_and_known_by_name(path, tmp_path, monkeypatch):
    """Each names the teacher and the extractor of the recipe whose campaign runs it; a file of the name wins."""
    monkeypatch.chdir(tmp_path)
    plan = bench.make_plan(path.stem, images=100, batch_size=50)
    assert plan == bench.make_plan(path, images=100, batch_size=50)
    assert len(cells(plan)) > 20
    recipes = [yaml.safe_load(p.read_text()) for p in RECIPES.glob("*.yaml")]
    (own,) = (r for r in recipes if r.get("campaign", {}).get("plan") == path.stem)
    assert (own["teacher"]["name"], own["extractor"]["name"]) == (plan.teacher, plan.extractor)
    (tmp_path / path.stem).write_text("teacher: mine\n")
    assert bench.make_plan(path.stem).teacher == "mine"
