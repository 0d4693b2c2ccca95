"""A whole study at toy scale: cut into slices, killed, and gone on with on another machine from what came home."""

import json
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from changed import changed
from processes import exit_code, start
from rehearsal import begin, shrunk

import bench.studies.study
import dsno.trajectory_making
from bench.runs.tuning_settings import TuningSettings
from bench.studies.export import FILES, PART
from bench.studies.parts import TABLE, read_table, unpack
from bench.studies.study import Campaign
from samplers import UserError
from samplers.models.weights import load_tensors
from samplers.time_limit import TimeUpError, time_limit

KILLED = """
import os, signal, torch
from pathlib import Path
import bench.studies.study, dsno.trajectory_making, samplers.training.loop
dsno.trajectory_making.CHECKED = 2
draw, left = samplers.training.loop.step_generator, [5]
def step_generator(seed, step):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return draw(seed, step)
samplers.training.loop.step_generator = step_generator
bench.studies.study.Campaign(Path({recipe!r}), Path("data"), Path("a"), torch.device("cpu"), quiet=True).run(1e9)
"""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samplers.training.precision.available_cores", lambda: 1)
    monkeypatch.setattr("bench.profiling.profiler.matrix_rate", lambda device, clock: 1e9)
    monkeypatch.setattr(
        "bench.profiling.settings.ProfileSettings", partial(bench.profiling.settings.ProfileSettings, repetitions=6)
    )
    monkeypatch.setattr("bench.quality.trajectory.STEPS", 8)
    monkeypatch.setattr(dsno.trajectory_making, "CHECKED", 2)
    monkeypatch.setattr("samplers.distilled.consistency_training.REFERENCE", ("ddim", 2))


def step_of(campaign: Campaign, stage: str) -> int:
    return load_tensors(campaign.folder(stage) / "checkpoint.safetensors")[1]["step"]


def test_a_study_survives_kill_9_slices_and_another_machine(recipe: Path, tmp_path: Path):
    # One machine, taken away in the second update of DSNO: the extractor and the teacher are done.
    assert exit_code(start(KILLED.format(recipe=str(recipe)), tmp_path)) == -signal.SIGKILL
    a = begin(recipe, tmp_path / "a")
    assert (a.done, a.next(), step_of(a, "dsno")) == (["extractor", "teacher", "trajectories"], "dsno", 1)
    home = shutil.copytree(a.export, tmp_path / "home")
    # Had it come back, it would have gone on there.
    assert not a.run(0)
    assert a.done[-1] == "dsno"

    # The next machine has what was exported last; trajectories are too large to travel and made again.
    b = begin(recipe, tmp_path / "b")
    b.start_from(tmp_path / "nothing came home yet")
    assert b.done == []
    b.start_from(home)
    assert b.done == ["extractor", "teacher"]
    units = []
    while b.next() in ("trajectories", "dsno") and len(units) < 3:
        units.append(b.next())
        assert not b.run(0)  # a slice of no time: one shard, one update
    assert units == ["trajectories", "trajectories", "dsno"]
    assert step_of(b, "dsno") == 1
    table = read_table(b.export)
    assert (table["stages"]["teacher"], table["stages"]["dsno"], table["stages"]["profile"]) == ("done", "begun", "waiting")
    assert not table["finished"]

    # A third one takes DSNO up where the second stopped, and is taken away in the last rung of the ladder.
    c = begin(recipe, tmp_path / "c")
    c.start_from(b.export)
    assert (c.done, step_of(c, "dsno")) == (["extractor", "teacher"], 1)
    rows = (c.folder("dsno") / "log.jsonl").read_text()
    for _ in range(9):  # an update of each: DSNO's second, two of the control, six of three rungs
        if not (c.folder("progressive") / "1" / "checkpoint.safetensors").exists():
            assert not c.run(0)
    assert c.done == ["extractor", "teacher", "trajectories", "dsno", "knowledge_distillation"]
    assert (c.folder("dsno") / "log.jsonl").read_text().startswith(rows)

    # The fourth has of the ladder what it needs: the cards, the last rung's weights, the checkpoint. It ends.
    d = begin(recipe, tmp_path / "d")
    d.start_from(c.export)
    ladder = d.folder("progressive")
    assert d.done == c.done
    assert {p.name for p in ladder.glob("*.safetensors")} == {"progressive-cifar10-base-2.safetensors"}
    assert {p.name for p in ladder.rglob("checkpoint*")} == {"checkpoint.safetensors"}
    assert load_tensors(ladder / "1" / "checkpoint.safetensors")[1]["step"] == 1
    assert d.run(1e9)
    assert d.done == list(d.needs)
    weights = [m.folder("teacher") / "cifar10-base.safetensors" for m in (a, b, c, d)]
    assert len({w.read_bytes() for w in weights}) == 1
    records = [json.loads(line) for line in (d.folder("run") / "records.jsonl").read_text().splitlines()]
    assert {r["status"] for r in records} == {"ok"}
    assert {r["family"] for r in records} >= {"dsno", "knowledge_distillation", "progressive", "consistency"}
    assert (d.folder("profile") / "eager" / "profile.json").exists()

    # What comes home is whole, small, and nothing but safetensors and one table.
    files = list(d.export.iterdir())
    assert {p.suffix for p in files} == {".safetensors", ".json"}
    assert len(files) <= FILES
    assert max(p.stat().st_size for p in files) <= PART
    table = unpack(d.export, tmp_path / "study")
    assert table["finished"]
    assert set(table["stages"].values()) == {"done"}
    for made in ("teacher/cifar10-base", "progressive/progressive-cifar10-base-1", "dsno/dsno-cifar10-base"):
        path = Path("training") / f"cifar10-{made}.safetensors"
        assert (tmp_path / "study" / path).read_bytes() == (tmp_path / "d" / path).read_bytes()
    assert not list((tmp_path / "study").rglob("checkpoint*"))
    last = begin(recipe, tmp_path / "e")
    last.start_from(d.export)
    assert last.next() is None


def test_a_stage_whose_seconds_are_used_up_waits_for_the_others(recipe: Path, tmp_path: Path):
    work = begin(recipe, tmp_path / "a")
    assert work.next() == "extractor"
    work.done = ["extractor"]
    work.spent["teacher"] = work.settings.seconds["teacher"]
    assert work.next() == "teacher"  # the others need it
    work.done = ["extractor", "teacher", "trajectories"]
    work.spent["dsno"] = work.settings.seconds["dsno"] + 1
    assert work.next() == "knowledge_distillation"
    work.done += ["knowledge_distillation", "progressive", "consistency"]
    assert work.next() == "dsno"


def test_what_cannot_be_worth_loading_waits_for_the_next_slice(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The first stage of a slice always begins; another one only with a share of the slice left, a larger one to measure."""
    clock, begun = [0.0], []

    def do(self, stage):
        begun.append(stage)
        clock[0] += took

    monkeypatch.setattr(bench.studies.study.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(Campaign, "_do", do)
    work = begin(recipe, tmp_path / "a")
    took = 84.0
    assert not work.run(100)
    assert begun == ["extractor", "teacher"]
    took = 86.0
    assert not work.run(100)
    assert begun[2:] == ["trajectories"]
    work.done += ["dsno", "knowledge_distillation", "progressive"]
    took = 61.0
    assert not work.run(100)
    assert begun[3:] == ["consistency"]
    took = 10.0
    assert work.run(100)
    assert begun[4:] == ["profile", "run"]


def test_a_stage_that_fails_leaves_the_others_their_turn(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    done = []

    def do(self, stage):
        if stage == "dsno" and "dsno" not in done:
            done.append(stage)
            raise UserError("loss is not finite")
        done.append(stage)

    monkeypatch.setattr(Campaign, "_do", do)
    work = begin(recipe, tmp_path / "a")
    with pytest.raises(UserError, match="loss is not finite"):
        work.run(1e9)
    assert done == [s for s in work.needs if s not in ("run", "profile")]
    table = read_table(work.export)
    assert (table["failed"], table["finished"]) == ({"dsno": "loss is not finite"}, False)
    again = begin(recipe, tmp_path / "a")
    assert again.run(1e9)
    assert done[-3:] == ["dsno", "profile", "run"]
    assert read_table(again.export)["finished"]


def test_settings_are_chosen_before_the_run_that_asks_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    recipe, plans = shrunk("mnist32", tmp_path), []
    plan = yaml.safe_load((tmp_path / "plan.yaml").read_text()) | {"tables": {"tuned": ["tuned"]}}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    own = TuningSettings(
        samplers=("ddim",), calls=(2,), images=2, grids=("karras",), ends=(0.02,), lasts=("stop",), levels=(1,)
    )
    monkeypatch.setattr(bench.studies.study, "TuningSettings", lambda: own)
    work = begin(recipe, tmp_path / "a")
    assert "tune" in work.needs["run"]
    work._do("tune")
    monkeypatch.setattr(bench.studies.study, "run_plan", lambda plan, *_, **__: plans.append(plan))
    work._do("run")
    assert [text.split(":")[0].split("@")[0] for text in plans[0].tables["tuned"]] == ["ddim"]
    content = yaml.safe_load(recipe.read_text())
    content["campaign"]["seconds"].pop("tune"), content["campaign"]["needs"].pop("tune")
    content["campaign"]["needs"]["run"].remove("tune")
    recipe.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match="asks for samplers as 'tuned'"):
        begin(recipe, tmp_path / "b")


def test_a_gpu_profiles_every_mode_once(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A slice that ends between two modes keeps the first."""
    told = []

    class Fake:
        def __init__(self, setting, device):
            told.append((setting.mode, setting.batch_sizes, setting.teacher, device.type))

        def measure(self):
            return {}

    def write(result, folder):
        folder.mkdir(parents=True)
        (folder / "profile.json").write_text("{}")

    monkeypatch.setattr("bench.profiling.profiler.Profiler", Fake)
    monkeypatch.setattr("bench.profiling.page.write_profile", write)
    work = begin(recipe, tmp_path / "a")
    work.device = torch.device("cuda")
    work.settings = changed(work.settings, batch_sizes=(1, 4, 16, 64))
    for _ in range(2):
        with pytest.raises(TimeUpError), time_limit(0):
            work._profile()
    with time_limit(0):
        work._profile()
    sizes = {"eager": (1, 4, 16, 64), "compile": (1, 16, 64), "graph": (1, 4, 16, 64)}
    assert told == [(mode, sizes[mode], "cifar10-base", "cuda") for mode in sizes]


def test_a_campaign_that_cannot_be(recipe: Path, tmp_path: Path):
    content = yaml.safe_load(recipe.read_text())
    for change, told in (
        ({"rungs": [0]}, "campaign: rungs must be at least 1"),
        ({"seconds": {"teacher": -5}}, "campaign: seconds: teacher must be at least 0"),
        ({"seconds": {"techer": 5}}, "campaign: seconds: unknown stage 'techer'; did you mean 'teacher'"),
        ({"seconds": {"ablations": 5}, "needs": {}, "remade": []}, "has no section 'ablations'"),
        ({"needs": {"dsno": ["trajectory"]}}, "campaign: needs: unknown stage 'trajectory'; did you mean 'trajectories'"),
        ({"needs": {"teacher": ["dsno"], "dsno": ["teacher"]}}, "campaign: needs: .* needs "),
        ({"remade": ["trajectory"]}, "campaign: remade: unknown stage"),
        ({"plan": 3}, "plan must be a word"),
        ({"plan": "cifar11"}, "unknown plan 'cifar11'; did you mean 'cifar10'"),
    ):
        recipe.write_text(yaml.safe_dump(content | {"campaign": content["campaign"] | change}))
        with pytest.raises(UserError, match=told):
            begin(recipe, tmp_path / "a")
    (recipe.parent / "test").rename(recipe.parent / "aside")
    recipe.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=r"no data at .*test; name its folder with --data"):
        begin(recipe, tmp_path / "a")
    (recipe.parent / "aside").rename(recipe.parent / "test")
    assert not (tmp_path / "a").exists()
    with pytest.raises(UserError, match="has no section 'campaign'"):
        begin(Path("cifar10-paper"), tmp_path / "a")
    work = begin(recipe, tmp_path / "a")
    work.write()
    other = recipe.rename(recipe.with_name("other.yaml"))
    with pytest.raises(UserError, match=r"is of recipe 'cifar10'; choose another --out or --from"):
        begin(other, tmp_path / "b").start_from(work.export)
    assert not (tmp_path / "b").exists()
    assert (work.export / TABLE).exists()
