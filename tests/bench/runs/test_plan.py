from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import bench
from bench.records.store import read_records
from bench.runs.cells import Cell, cells
from bench.runs.plan import PLANS, Plan
from samplers import UserError
from samplers.documents import parse_document
from samplers.training.recipe import RECIPES

RESULTS = Path(__file__).parents[3] / "results"


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
    rows = read_records(run.parent / "records.jsonl")
    done = [Cell.of(r) for r in rows if r.status == "ok"]  # one that failed may have been measured again
    assert len(set(done)) == len(done)
    assert {Cell.of(r) for r in rows} <= set(cells(bench.make_plan(run)))


def test_yaml_round_trip(tmp_path: Path):
    plan = Plan(samplers=("unipc",), images=77, extractor="x", grid="karras")
    (tmp_path / "plan.yaml").write_text(plan.to_yaml())
    assert bench.make_plan(tmp_path / "plan.yaml") == plan


def test_a_field_that_comes_later_renames_no_run(tmp_path: Path):
    """A run is named by what is not at its default, and a folder's plan is compared as it is read."""
    plan = Plan(samplers=("ddim",), seed=3)
    assert plan.run_id() == "mnist32-25a89e56"
    later = {"rank_by": "kid", "mode": "compile", "time_budget": 9.0, "sweep": (1, 4), "cold_start": True}
    names = {Plan(samplers=("ddim",), seed=3, **{k: v}).run_id() for k, v in later.items()}
    assert len(names | {plan.run_id()}) == 6
    older = {k: v for k, v in plan.values().items() if k not in later}
    (tmp_path / "plan.yaml").write_text(text := yaml.safe_dump(older))
    assert plan.text_in(tmp_path) == text
    assert Plan(seed=4).text_in(tmp_path) == Plan(seed=4).to_yaml()
    for damaged in (b"", b"\xff", b"seed: [", b"images: 0\n"):
        (tmp_path / "plan.yaml").write_bytes(damaged)
        assert plan.text_in(tmp_path) == plan.to_yaml()
    assert plan.text_in(tmp_path / "nowhere") == plan.to_yaml()


def test_a_run_of_an_older_plan_file_is_gone_on_with(one: dict, tmp_path: Path):
    found = bench.run(out=tmp_path, quiet=True, **one)
    path = tmp_path / "plan.yaml"
    older = {k: v for k, v in yaml.safe_load(path.read_text()).items() if k not in ("rank_by", "sweep", "cold_start", "mode")}
    path.write_text(text := yaml.safe_dump(older))
    assert bench.run(out=tmp_path, quiet=True, **one).equals(found)
    assert path.read_text() == text
    with pytest.raises(UserError, match="holds a run of another plan"):
        bench.run(out=tmp_path, quiet=True, **(one | {"seed": 1}))


@pytest.mark.parametrize("folder", sorted(p.parent for p in RESULTS.glob("*/plan.yaml")), ids=lambda p: p.name)
def test_a_committed_run_is_gone_on_with(folder: Path):
    """As its plan stands there, field by field, from when some fields were not there yet."""
    plan, written = bench.make_plan(folder / "plan.yaml"), yaml.safe_load((folder / "plan.yaml").read_text())
    assert {k: v for k, v in plan.values().items() if k in written} == written
    assert set(plan.identity()) <= set(written)
    assert plan.text_in(folder) == (folder / "plan.yaml").read_text()


def test_keys_of_time_come_back_from_yaml(tmp_path: Path):
    (tmp_path / "plan.yaml").write_text("time_precision: 2%\ntime_budget: 9\nsweep: [1, 4]\ncold_start: true\nmode: compile\n")
    plan = bench.make_plan(tmp_path / "plan.yaml")
    assert (plan.time_precision, plan.time_budget, plan.sweep, plan.cold_start) == (0.02, 9.0, (1, 4), True)
    assert {c.mode for c in cells(plan)} == {"compile"}
    (tmp_path / "again.yaml").write_text(plan.to_yaml())
    assert bench.make_plan(tmp_path / "again.yaml") == plan


def test_steps_and_calls_replace_each_other_over_a_file(tmp_path: Path):
    path = tmp_path / "plan.yaml"
    path.write_text(Plan(steps=(4,)).to_yaml())  # with the default of calls
    assert bench.make_plan(path) == Plan(steps=(4,))
    assert bench.make_plan(path, calls=(3,)) == Plan(calls=(3,))
    path.write_text("calls: 3\n")
    assert bench.make_plan(path, steps=(4,)) == Plan(steps=(4,))
    path.write_text("calls: 3\nsteps: 4\n")
    with pytest.raises(UserError, match=r"plan\.yaml: steps and calls are both given"):
        bench.make_plan(path)


def test_a_budget_of_many_calls_takes_few_looks():
    """At a card's count of calls, for which a million plans must not wait."""
    assert {c.steps for c in cells(Plan(samplers=("heun",), calls=(9_999, 10_000)))} == {5000}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from(["1%", "all", "fp32"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(Plan.model_fields)), VALUES, min_size=1, max_size=3))
def test_any_values_are_a_plan_or_one_line(values: dict):
    """From a file and from Python alike."""
    text = yaml.safe_dump(values, allow_unicode=True)
    for made in (lambda: Plan.of(parse_document(text, "plan.yaml", "plan")), lambda: bench.make_plan(**values)):
        try:
            plan, told = made(), ""
        except UserError as e:
            plan, told = None, str(e)
        assert len(told.splitlines()) <= 1
        assert len(told) < 400
        if plan is not None:
            assert Plan.of(parse_document(plan.to_yaml(), "plan.yaml", "plan")) == plan


def test_arguments_go_over_the_file(tmp_path: Path):
    (tmp_path / "plan.yaml").write_text("images: 95\nseed: 3\n")
    plan = bench.make_plan(tmp_path / "plan.yaml", images=99)
    assert (plan.images, plan.seed) == (99, 3)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("images: 5\nsampler: ddim\n", "line 2: unknown key 'sampler'; did you mean 'samplers'?"),
        ("seed: 1\n\nimages: many\n", "line 3: images must be a whole number, not 'many'"),
        ("seed: 1\nseed: 2\n", "line 2: 'seed' stands there twice"),
        ("time_precision: 1e-3\nimages: 1.0e6\n", "line 2: images must be a whole number, not 1000000.0"),
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
        bench.make_plan(path)
    assert told in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"images": 1}, "images must be at least 2, got 1"),
        ({"images": 10**5000}, "images must be at most 10000000, got a number of thousands of digits"),
        ({"images": 50, "batch_size": 64}, "batch_size 64 is more than the 50 images"),
        ({"seed": 2**32}, "seed must be below 4294967296"),
        ({"precision": "fp16"}, "unknown precision 'fp16'"),
        ({"labels": "balance"}, "did you mean 'balanced'?"),
        ({"grid": "kerras"}, "did you mean 'karras'?"),
        ({"calls": (0,)}, "calls must be at least 1, got 0"),
        ({"calls": ()}, "give --steps or --calls"),
        ({"calls": (10**7,)}, "calls must be at most 10000"),
        ({"steps": (3,), "calls": (3,)}, "steps and calls are both given"),
        ({"samplers": ()}, "samplers must not be empty"),
        ({"repetitions": 2}, "repetitions must be at least 3, or 0 where nothing is timed"),
        ({"repetitions": 0, "sweep": (1, 4)}, "repetitions must be at least 3 where sweep or cold_start is asked for"),
        ({"tables": {"a; b": ["ddim"]}}, "tables"),
        ({"samplers": ("tuned",)}, "name its file with --tuned"),
        ({"mode": "compiled"}, "unknown mode 'compiled'; did you mean 'compile'?"),
        ({"time_precision": 0}, "time_precision must be above 0, got 0"),
        ({"time_precision": "2"}, "time_precision must be below 1, got '2'"),
        ({"time_precision": "two"}, "time_precision must be a number, or a percentage, not 'two'"),
        ({"time_precision": True}, "time_precision must be a number, or a percentage, not True"),
        ({"time_budget": 0}, "time_budget must be above 0, got 0"),
        ({"time_budget": float("nan")}, "time_budget must be a finite number"),
        ({"threads": 10**9}, "threads must be at most 4096"),
        ({"sweep": (4, 1)}, "sweep must be increasing batch sizes"),
        ({"sweep": (0, 1)}, "sweep must be at least 1, got 0"),
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


@pytest.mark.parametrize("path", sorted({*PLANS.glob("*.yaml")} - {PLANS / "demo.yaml"}), ids=lambda p: p.stem)
def test_shipped_plans_are_whole_and_known_by_name(path, tmp_path, monkeypatch):
    """Each names the teacher and the extractor of the recipe whose campaign runs it, if one does; a file of the name wins."""
    if path.stem == "mnist32-neighbours" and None in map(find_spec, ("k_diffusion", "diffusers")):
        pytest.skip("it needs the libraries beside ours")
    monkeypatch.chdir(tmp_path)
    choice = {"samplers": ["ddim:end=0.02@5"], "teacher": "x", "seed": 1, "images": 20, "candidates": 1}
    (tmp_path / "tuned.yaml").write_text(yaml.safe_dump(choice | {"ranked_by": {}, "scores": {}}))
    options = {"images": 100, "batch_size": 50, "tuned": tmp_path / "tuned.yaml"}
    plan = bench.make_plan(path.stem, **options)
    assert plan == bench.make_plan(path, **options)
    assert len(cells(plan)) > 20
    if (RECIPES / path.name).exists():
        own = yaml.safe_load((RECIPES / path.name).read_text())
        assert own.get("campaign", {}).get("plan", path.stem) == path.stem
        assert (own["teacher"]["name"], own["extractor"]["name"]) == (plan.teacher, plan.extractor)
    (tmp_path / path.stem).write_text("teacher: mine\n")
    assert bench.make_plan(path.stem).teacher == "mine"
