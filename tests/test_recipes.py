"""Every shipped recipe trains: each of its sections for two updates, on a few small images, each student from its teacher."""

import json
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch
import yaml
from rehearsal import shrunk

import dsno.trajectory_making
import samplers.training.trainer
from dsno.network import DSNO, DSNOConfig
from samplers.flops import flops
from samplers.models.sizes import UNetConfig
from samplers.models.teacher import load_teacher
from samplers.models.unet import UNet, parameter_count
from samplers.models.zoo import add_zoo
from samplers.training.loop import Trained
from samplers.training.recipe import RECIPES

ORDER = (
    "extractor",
    "teacher",
    "trajectories",
    "dsno",
    "knowledge_distillation",
    "progressive",
    "consistency",
    "consistency_training",
)
STUDENTS = (*ORDER[3:], "dsno_again", "knowledge_distillation_again")


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samplers.training.precision.available_cores", lambda: 1)
    monkeypatch.setattr("samplers.models.zoo._trained", [])
    monkeypatch.setattr(dsno.trajectory_making, "CHECKED", 2)
    monkeypatch.setattr("samplers.distilled.consistency_training.REFERENCE", ("ddim", 2))


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("name", sorted(p.stem for p in RECIPES.glob("*.yaml")))
def test_every_section_trains(name: str, tmp_path: Path):
    path = shrunk(name, tmp_path)
    recipe = yaml.safe_load(path.read_text())
    trainers = {e.name: e for e in entry_points(group="bench.trainers")}
    training = tmp_path / "training"
    training.mkdir()
    add_zoo(training)
    made = {}
    for what in (w for w in ORDER if w in recipe):
        written = (
            trainers[what]
            .load()
            .train(path, tmp_path if what not in ORDER[2:5] else None, training / f"{name}-{what}", quiet=True)
        )
        made[what] = json.loads(written.read_text())
    assert set(ORDER) - {"consistency_training"} <= made.keys()
    teacher = made["teacher"]
    whole = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    assert teacher["network"]["attention"] == whole["teacher"]["network"]["attention"]
    assert teacher["network"]["dropout"] == whole["teacher"]["network"].get("dropout", 0.0)
    assert teacher["network"]["classes"] == whole["teacher"]["network"].get("classes", 3)
    for what in ("trajectories", "dsno", "knowledge_distillation", "consistency"):
        assert made[what]["teacher"]["sha256"] == teacher["sha256"], what
    assert [r["steps"] for r in made["progressive"]["rungs"]] == [4, 2, 1]
    assert made["progressive"]["teacher"]["sha256"] == teacher["sha256"]
    assert made["dsno"]["network"]["dropout"] == whole["dsno"].get("dropout", 0.0)
    assert (made["dsno"]["operator"]["points"], made["knowledge_distillation"]["operator"]["points"]) == (4, 1)
    if "search" in made["dsno"]:
        tried = [row["error@0"] for row in made["dsno"]["search"]["variants"]]
        rate = made["dsno"]["search"]["variants"][tried.index(min(tried))]["changes"]["optimisation"]["learning_rate"]
        assert made["dsno"]["recipe"]["dsno"]["optimisation"]["learning_rate"] == rate


@pytest.mark.parametrize("name", sorted(p.stem for p in RECIPES.glob("*.yaml") if p.stem != "mnist32"))
def test_knowledge_distillation_does_dsno_s_work(name: str):
    """As many forwards of the network: M = 4 time points against four times the images."""
    recipe = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    own = recipe["dsno"]["optimisation"]
    control = own | (recipe["knowledge_distillation"] or {}).get("optimisation", {})
    assert control["steps"] * control["batch"] == own["steps"] * own["batch"] * recipe["dsno"]["network"]["points"]


@pytest.mark.usefixtures("_small")
def test_all_students_of_a_recipe_do_the_same_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Within 1 % of what the recipe pays for, and the forwards on the cards say the same: a gradient is worth two.

    Their trainings are made up: what counts is how long they would be.
    """
    path, trainers = shrunk("mnist32", tmp_path), {e.name: e.load() for e in entry_points(group="bench.trainers")}
    recipe = yaml.safe_load(path.read_text())
    recipe["students"]["tflop"] = 1.0
    for section in recipe.values():
        section.pop("search", None)
    path.write_text(yaml.safe_dump(recipe))
    (tmp_path / "training").mkdir()
    add_zoo(tmp_path / "training")

    def train(what: str) -> dict:
        data = None if "d" in what[:3] or "knowledge" in what else tmp_path
        return json.loads(trainers[what].train(path, data, tmp_path / "training" / f"mnist32-{what}", quiet=True).read_text())

    def no_fit(network, loss, o, folder, **_):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "log.jsonl").write_text("")
        ema = {k: p.detach() for k, p in network.named_parameters()}
        return Trained(ema, o.steps, o.steps * o.batch, 0.0, {"error@0": 1.0, "step_error": 1.0})

    train("teacher"), train("trajectories")
    monkeypatch.setattr(samplers.training.trainer, "fit", no_fit)
    costs = {}
    for what in STUDENTS:
        told = train(what)
        costs[what] = told["rungs"][-1]["cost"] if what == "progressive" else told["cost"]
    teacher = load_teacher("mnist32")
    forward = flops(teacher, torch.zeros(1, *teacher.shape), 1.0, torch.tensor([0]))
    for what, cost in costs.items():
        assert cost["tflop_allowed"] == 1.0
        assert cost["tflop"] == pytest.approx(1.0, rel=0.01), what
        gradients = cost["student_forwards"] * (1 if "consistency" in what else 2)  # half of a consistency model's have one
        work = forward * (cost["student_forwards"] + gradients + cost["teacher_forwards"])
        assert work / 1e12 == pytest.approx(cost["tflop"], rel=0.06), what


@pytest.mark.parametrize(
    ("name", "sizes", "backbone", "student", "updates", "batch", "dropout", "grid"),
    [
        ("cifar10-paper", {"image_size": 32, "classes": 0}, 60_004_099, 65_771_267, 400_000, 256, 0.2, "quadratic"),
        ("imagenet64-paper", {"image_size": 64, "classes": 1000}, 295_900_035, 329_225_091, 120_000, 2048, 0.1, "uniform"),
    ],
)
def test_paper_recipes_hold_dsno_s_published_settings(name, sizes, backbone, student, updates, batch, dropout, grid):
    """Of the released code, sizes of its networks included."""
    recipe = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    config = UNetConfig(**{**sizes, **recipe["teacher"]["network"]})
    with torch.device("meta"):
        assert parameter_count(UNet(config)) == backbone
        own = DSNO(config, DSNOConfig(**recipe["dsno"]["network"]))
    assert parameter_count(own) == student
    section, o = recipe["dsno"], recipe["dsno"]["optimisation"]
    assert (o["steps"], o["batch"], o["learning_rate"], o["warmup"], o["ema"]) == (updates, batch, 2e-4, 10_000, 0.9999)
    assert (section["dropout"], recipe["teacher"]["network"]["dropout"]) == (dropout, dropout)
    assert section["network"] == {"points": 4, "grid": grid, "modes": 2}
    assert config.classes == sizes["classes"]
