"""`bench train consistency` and `consistency_training` end to end: loss, card, cost, killed and resumed with its target."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from processes import difference, in_two_processes
from small import OPTIMISATION, TOGETHER, consistency, write_images, write_recipe, write_teacher

import samplers
from samplers import UserError
from samplers.distilled import consistency_training
from samplers.distilled.consistency import ConsistencyFunction, nodes
from samplers.distilled.consistency_training import ConsistencyDistillation, ConsistencyTraining
from samplers.distilled.loading import load_student
from samplers.distilled.losses import METRICS
from samplers.files import sha256
from samplers.models.weights import load_tensors
from samplers.models.zoo import find_card
from samplers.schedule import GRIDS
from samplers.training import student
from samplers.world import World

TRAINERS = {"consistency": ConsistencyDistillation.train, "consistency_training": ConsistencyTraining.train}
UPDATES, BATCH = OPTIMISATION["steps"], OPTIMISATION["batch"]
both = pytest.mark.parametrize("method", TRAINERS)


def section_of(method: str, teacher_card: Path, **changes) -> dict:
    return consistency(teacher_card, **({} if method == "consistency" else {"ode_step": None}) | changes)


def train(folder: Path, data: Path, method: str, section: dict) -> dict:
    """Trains in folder/out; returns the card."""
    recipe = write_recipe(folder / "recipe.yaml", **{method: section})
    path = TRAINERS[method](recipe, data, folder / "out", quiet=True)
    assert path == folder / "out" / "mapper.json"
    return json.loads(path.read_text())


def checkpoint(out: Path) -> tuple[dict, dict]:
    return load_tensors(out / "checkpoint.safetensors")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, teacher_card, data) -> dict[str, Path]:
    """Method -> the folder of an unbroken training."""
    folders = {method: tmp_path_factory.mktemp(method) for method in TRAINERS}
    for method, folder in folders.items():
        train(folder, data, method, section_of(method, teacher_card))
    return {method: folder / "out" for method, folder in folders.items()}


@both
def test_card_says_what_was_trained(whole, teacher, teacher_card, method):
    card = json.loads((whole[method] / "mapper.json").read_text())
    assert (card["kind"], card["method"], card["name"], card["labels"]) == ("student", method, "mapper", "balanced")
    assert "steps" not in card  # it takes any number
    assert card["teacher"] == {"name": "tiny", "sha256": teacher.sha256}
    assert card["network"] == teacher.network.config.values()
    assert (card["parameterisation"], card["sigma_min"], card["sigma_max"]) == ("v", 0.002, 80.0)
    assert card["parameters"] == sum(p.numel() for p in teacher.parameters())
    assert card["noise_seeds"] == []
    assert card["recipe"][method] == section_of(method, teacher_card)
    assert card["sha256"] == sha256(whole[method] / "mapper.safetensors")
    assert [row["step"] for row in card["training"]["curve"]] == [2, 4]
    assert card["training"]["curve"][-1].keys() >= {"loss", "error@0"}
    assert (card["training"]["steps"], card["training"]["images"]) == (UPDATES, UPDATES * BATCH)


@pytest.mark.parametrize(
    ("method", "change", "teacher_forwards"),
    [("consistency", {}, 1), ("consistency", {"ode_step": "heun"}, 2), ("consistency_training", {}, 0)],
)
def test_cost_is_what_the_loss_calls(tmp_path, teacher_card, data, monkeypatch, method, change, teacher_forwards):
    """Two forwards of the student an image, its target's too, and those of the teacher's step."""
    images = {"teacher": 0, "f": 0}
    load_unet_teacher = student.load_unet_teacher

    class Counted(ConsistencyFunction):
        def __call__(self, x, s, labels=None):
            images["f"] += len(x) if x.shape[0] == 8 else 0  # not the five held-out noises
            return super().__call__(x, s, labels)

    def counted_teacher(*args, **kwargs):
        teacher = load_unet_teacher(*args, **kwargs)

        def count(_, inputs):
            images["teacher"] += len(inputs[0]) if inputs[0].shape[0] == 8 else 0

        teacher.register_forward_pre_hook(count)
        return teacher

    monkeypatch.setattr(consistency_training, "ConsistencyFunction", Counted)
    monkeypatch.setattr(student, "load_unet_teacher", counted_teacher)
    section = section_of(method, teacher_card, optimisation=OPTIMISATION | {"steps": 2, "batch": 8}, **change)
    cost = train(tmp_path, data, method, section)["cost"]
    assert (cost["student_forwards"], cost["teacher_forwards"]) == (2 * 16, teacher_forwards * 16)
    assert images == {"teacher": cost["teacher_forwards"], "f": cost["student_forwards"]}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("method", "ode_step"), [("consistency", "ddim"), ("consistency", "heun"), ("consistency_training", None)]
)
def test_the_first_loss_is_the_formula(tmp_path, teacher_card, teacher, monkeypatch, method, ode_step, metric):
    """Student and target start as the teacher: f(x_s, s) against f(x_t, t), neighbours of one image and one noise."""
    asked = []

    class Spied(ConsistencyFunction):
        def __call__(self, x, s, labels=None):
            asked.append((x, s, labels, torch.is_grad_enabled()))
            return super().__call__(x, s, labels)

    write_images(tmp_path / "images", count=1)
    monkeypatch.setattr(consistency_training, "ConsistencyFunction", Spied)
    o = OPTIMISATION | {"steps": 1, "batch": 64}
    changes = {"intervals": [8, 8], "grid": "quadratic", "metric": metric, "label_dropout": 0.5, "optimisation": o}
    card = train(tmp_path, tmp_path, method, section_of(method, teacher_card, ode_step=ode_step, **changes))
    (x_t, t, labels, learns), (x_s, s, same, learns_too) = asked[:2]
    assert (learns, learns_too, card["labels"]) == (False, True, "any")
    assert torch.equal(labels, same)
    assert set(labels.tolist()) == {0, -1}
    levels = nodes(teacher.schedule, 8, "quadratic").float()
    n = (levels - t[:, None]).abs().argmin(dim=1)
    assert torch.equal(t, levels[n])
    assert torch.equal(s, levels[n + 1])
    assert set(n.tolist()) == set(range(8))
    x0 = samplers.training.data.load_images([tmp_path / "images"]).floats(slice(0, 1))
    s4, t4 = s[:, None, None, None], t[:, None, None, None]
    eps = (x_s - x0) / s4
    assert float(eps[s > 1].std()) == pytest.approx(1, abs=0.1)
    slope = eps if ode_step is None else (x_s - teacher(x_s, s, labels)) / s4
    if ode_step == "heun":
        guess = x_s + (t4 - s4) * slope
        slope = (slope + (guess - teacher(guess, t, labels)) / t4) / 2
    torch.testing.assert_close(x_t, x_s + (t4 - s4) * slope, rtol=1e-4, atol=1e-4)

    def f(x, level):
        skip = 0.002 / level
        return skip * x + (1 - skip) * teacher(x, level.flatten(), labels)

    squares = (f(x_s, s4) - f(x_t, t4)).square()
    c = 0.00054 * 8
    by_image = squares.mean(dim=(1, 2, 3)) if metric == "l2" else (squares.sum(dim=(1, 2, 3)) + c * c).sqrt() - c
    assert card["training"]["curve"][0]["loss"] == pytest.approx(float(by_image.mean()), rel=1e-3, abs=2e-6)


@both
def test_error_is_that_of_one_call(whole, teacher, method):
    """Relative RMSE against the teacher's path on the held-out noises; kept in half precision by the card."""
    z, labels = samplers.noise(77, range(5), teacher.shape), torch.arange(5) % 5
    true = samplers.get("ipndm").sample(teacher, z, steps=24, labels=labels)
    student = load_student(find_card("student", whole[method] / "mapper.json"))
    found = ConsistencyFunction(student)(80.0 * z, 80.0, labels)
    told = json.loads((whole[method] / "mapper.json").read_text())["training"]["validation"]
    assert told["error@0"] == pytest.approx(float((found - true).norm() / true.norm()), rel=0.02)


def test_distillation_learns_the_ends_of_paths(tmp_path, teacher_card, data):
    """The error on noises that it never saw falls."""
    o = OPTIMISATION | {"steps": 40, "learning_rate": 5e-3, "checkpoint_seconds": 1e9}
    section = consistency(teacher_card, intervals=[2, 4], optimisation=o)
    curve = [row["error@0"] for row in train(tmp_path, data, "consistency", section)["training"]["curve"]]
    assert curve[-1] < 0.8 * curve[0]


def test_neighbours_come_closer_on_the_way(teacher, teacher_card, data, tmp_path, monkeypatch):
    """2 intervals, then 4, then 8."""
    learnt = []

    class Spied(ConsistencyFunction):
        def __call__(self, x, s, labels=None):
            if torch.is_grad_enabled():
                learnt.append(s)
            return super().__call__(x, s, labels)

    monkeypatch.setattr(consistency_training, "ConsistencyFunction", Spied)
    train(tmp_path, data, "consistency", consistency(teacher_card, optimisation=OPTIMISATION | {"steps": 6, "batch": 32}))
    found = [sorted(set(s.tolist())) for s in learnt]
    assert found == [nodes(teacher.schedule, n, "uniform_t").float()[1:].tolist() for n in (2, 2, 4, 4, 8, 8)]


# Killed and resumed


class Spoilt:
    """The metric, until its call number `at` (from 0)."""

    def __init__(self, at, how):
        self.at, self.how, self.calls = at, how, 0

    def __call__(self, a, b):
        self.calls += 1
        value = PSEUDO_HUBER(a, b)
        return self.how(value) if self.calls - 1 == self.at else value


PSEUDO_HUBER = METRICS["pseudo_huber"]


def interrupt(value):
    raise KeyboardInterrupt


@both
def test_a_killed_training_goes_on_bit_for_bit(whole, teacher_card, data, tmp_path, monkeypatch, method):
    """With its target network, and at the number of intervals where it was."""
    section = section_of(method, teacher_card)
    for at in (1, 1):  # in update 1, then in update 2
        monkeypatch.setitem(METRICS, "pseudo_huber", Spoilt(at, interrupt))
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, data, method, section)
    assert checkpoint(tmp_path / "out")[1]["step"] == 2
    assert not (tmp_path / "out" / "mapper.json").exists()
    monkeypatch.setitem(METRICS, "pseudo_huber", spy := Spoilt(-1, interrupt))
    card = train(tmp_path, data, method, section)
    assert spy.calls == UPDATES - 2
    a, b = (checkpoint(out)[0] for out in (whole[method], tmp_path / "out"))
    assert a.keys() == b.keys()
    assert {k.split("/")[0] for k in a} == {"raw", "ema", "target", "m", "v", "t"}
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert sha256(tmp_path / "out" / "mapper.safetensors") == sha256(whole[method] / "mapper.safetensors")
    before = json.loads((whole[method] / "mapper.json").read_text())
    assert card["training"]["validation"] == before["training"]["validation"]


@pytest.mark.parametrize("target_ema", [0.0, 0.5])
def test_the_target_network_in_the_checkpoint(teacher, teacher_card, data, tmp_path, target_ema):
    """After one update (1 - decay) of the way from the teacher to the weights; without decay the weights themselves."""
    section = consistency(teacher_card, target_ema=target_ema, optimisation=OPTIMISATION | {"steps": 1})
    train(tmp_path, data, "consistency", section)
    tensors, _ = checkpoint(tmp_path / "out")
    moved = 0
    for name, before in teacher.network.state_dict().items():
        raw, target = tensors[f"raw/{name}"], tensors[f"target/{name}"]
        moved += not torch.equal(raw, before)
        torch.testing.assert_close(target, target_ema * before + (1 - target_ema) * raw, rtol=1e-6, atol=1e-7)
        if target_ema == 0:
            assert torch.equal(target, raw)
    assert moved > 10


def test_the_loss_asks_the_target_network(teacher_card, data, tmp_path, monkeypatch):
    """In the second update it is behind the student, and has no gradient."""
    pairs, made = [], []

    class Spied(ConsistencyFunction):
        def __init__(self, denoiser):
            super().__init__(denoiser)
            made.append(self)

        def __call__(self, x, s, labels=None):
            if torch.is_grad_enabled() or self is made[1]:
                pairs.append((self, self.denoiser.network.conv_out.bias.detach().clone()))
            return super().__call__(x, s, labels)

    monkeypatch.setattr(consistency_training, "ConsistencyFunction", Spied)
    o = OPTIMISATION | {"steps": 2, "validate_every": 9}
    train(tmp_path, data, "consistency", consistency(teacher_card, optimisation=o, target_ema=0.75))
    (a0, start), (b0, same), (a1, behind), (b1, ahead) = pairs[:4]
    assert (a0, b0, a1, b1) == (made[1], made[0], made[1], made[0])
    assert torch.equal(start, same)
    assert not torch.equal(ahead, start)
    torch.testing.assert_close(behind, 0.75 * start + 0.25 * ahead)
    assert all(p.grad is None for p in made[1].denoiser.parameters())


def test_nan_says_the_update_and_keeps_the_checkpoint(teacher_card, data, tmp_path, monkeypatch):
    monkeypatch.setitem(METRICS, "pseudo_huber", Spoilt(2, lambda v: v * math.nan))
    with pytest.raises(UserError, match=r"mapper: loss or gradient is not finite at step 2; the checkpoint .* is kept") as e:
        train(tmp_path, data, "consistency", consistency(teacher_card))
    assert "\n" not in str(e.value)
    assert checkpoint(tmp_path / "out")[1]["step"] == 2


@both
def test_another_training_in_the_folder(whole, teacher_card, data, tmp_path, method):
    shutil.copytree(whole[method], tmp_path / "out")
    other = next(m for m in TRAINERS if m != method)
    write_images(tmp_path / "images", count=11)
    trials = [
        (data, method, section_of(method, teacher_card, target_ema=0.25), "recipe"),
        (data, other, section_of(other, teacher_card), "recipe"),
        (tmp_path, method, section_of(method, teacher_card), "data_sha256"),
        (data, method, section_of(method, write_teacher(tmp_path, seed=1)), "recipe, teacher"),
    ]
    for folder, name, section, differs in trials:
        with pytest.raises(UserError, match=rf"is of another training \({differs} differ\); choose another --out") as e:
            train(tmp_path, folder, name, section)
        assert "\n" not in str(e.value)
    assert sha256(tmp_path / "out" / "mapper.safetensors") == sha256(whole[method] / "mapper.safetensors")


@pytest.mark.parametrize("grid", GRIDS)
def test_every_grid_trains(teacher_card, data, tmp_path, grid):
    section = consistency(teacher_card, grid=grid, intervals=[2, 3], optimisation=OPTIMISATION | {"steps": 2})
    assert math.isfinite(train(tmp_path, data, "consistency", section)["training"]["curve"][-1]["loss"])


def test_two_processes_train_the_same(teacher_card, data, tmp_path):
    section = section_of("consistency", teacher_card)
    train(tmp_path, data, "consistency", section)
    code = f"ConsistencyDistillation.train('recipe.yaml', Path({str(data)!r}), Path('two'), quiet=True)"
    in_two_processes(TOGETHER + code, tmp_path)
    assert difference(tmp_path / "out", tmp_path / "two") < 1e-2


@both
def test_a_batch_that_cannot_be_shared(teacher_card, data, tmp_path, monkeypatch, method):
    monkeypatch.setattr(World, "join", lambda device: World(1, 3, torch.device("cpu")))
    with pytest.raises(UserError, match=f"a batch of {BATCH} cannot be shared by 3 processes; choose a multiple"):
        train(tmp_path, data, method, section_of(method, teacher_card))
