"""Training a student: exact Gaussian paths learnt, a run end to end, killed, and in two processes."""

import json
import math
import shutil

import pytest
import tiny
import torch
from changed import changed
from processes import difference
from tiny import SIZES, Gaussian, images, in_two_processes, learning, relative, train_student, write_json, write_recipe
from torch import nn

import dsno.training
import dsno.trajectory_making
import samplers
from dsno.loading import load_student
from dsno.losses import l2, path_loss
from dsno.network import DSNO, DSNOConfig, from_teacher, logsnr_at
from dsno.times import loss_weights
from dsno.trajectory_making import seconds_taken
from samplers import Cosine, UserError, sigmas
from samplers.files import sha256
from samplers.models.weights import load_tensors, save_tensors
from samplers.models.zoo import find_card
from samplers.solvers.paths import levels_through, path_of
from samplers.training.loop import fit
from samplers.training.optimisation import Optimisation
from samplers.world import World

# Gaussian data, where the whole path is known


def test_student_learns_the_exact_path_of_gaussian_data(tmp_path):
    """One channel, x0_hat = 0.4 + c(t) z with c = 0.25, 0.5, 0.71, 0.8: the relative error of every time ends below
    BOUND, less than a student would get that gave one time for its neighbour (10 %), and far below the untrained one's."""
    bound = 0.08
    gaussian = Gaussian(torch.full((1, 4, 4), 0.4), torch.full((1, 4, 4), 0.8))
    config, schedule = DSNOConfig(grid="uniform"), Cosine(0.002, 80.0)
    levels = [schedule.sigma(t) for t in config.times()]
    weights = torch.tensor(loss_weights(schedule, config.times(), "flat"))
    logsnr = logsnr_at(schedule, config.times())

    def path(z: torch.Tensor) -> torch.Tensor:
        return torch.stack([gaussian.image(z, s) for s in levels], dim=1).float()

    def loss(network: nn.Module, generator: torch.Generator, step: int) -> torch.Tensor:
        z = torch.randn(16, 1, 4, 4, generator=generator)
        return path_loss(network(z, logsnr.expand(16, -1)), path(z), weights, [(1.0, l2)])

    torch.manual_seed(0)
    backbone = changed(SIZES, image_size=4, width=16, multipliers=(1,), attention=(), embedding=32, classes=0)
    network = DSNO(backbone, config)
    z = images(99, 64, 1, 4, 4)
    true = path(z)

    def errors() -> list[float]:
        with torch.no_grad():
            found = network.eval()(z, logsnr.expand(64, -1))
        return [float((found - true)[:, i].norm() / true[:, i].norm()) for i in range(4)]

    untrained = errors()
    o = Optimisation(steps=100, batch=16, learning_rate=1.5e-2, warmup=10, ema=0.9, checkpoint_seconds=1e9, validate_every=1000)
    trained = fit(network, loss, o, tmp_path, title="gaussian", identity={}, quiet=True)
    network.load_state_dict(trained.ema)
    found = errors()
    neighbours = [float((true[:, i] - true[:, i + 1]).norm() / true[:, i + 1].norm()) for i in range(3)]
    assert max(found) < bound < min(neighbours)
    assert min(untrained) > 0.5


# A run end to end


@pytest.fixture(scope="module")
def trained(tmp_path_factory, folder, teacher_card):
    """The card of a student of eight updates; trajectories are found beside its folder."""
    out = tmp_path_factory.mktemp("trained")
    shutil.copytree(folder, out / "recipe-trajectories")
    recipe = write_recipe(out / "recipe.yaml", dsno=learning(teacher_card))
    return dsno.training.DSNOTraining.train(recipe, None, out / "student", quiet=True)


def test_card_says_what_was_trained(trained, teacher, folder, teacher_card):
    card, m = json.loads(trained.read_text()), json.loads((folder / "trajectories.json").read_text())
    assert trained.name == "learner.json"
    assert (card["kind"], card["name"], card["target"], card["labels"]) == ("dsno", "learner", "x0", "balanced")
    assert card["teacher"] == {"name": "tiny", "sha256": teacher.sha256}
    assert card["operator"] == {"points": 4, "grid": "quadratic", "modes": 2}
    assert card["network"] == SIZES.values()
    assert (card["sigma_min"], card["sigma_max"]) == (teacher.sigma_min, teacher.sigma_max)
    made_in = seconds_taken(folder, [s["file"] for s in m["shards"]])
    seconds = pytest.approx(made_in + card["training"]["seconds"], abs=1.1)  # each is rounded
    assert card["cost"] == {"student_forwards": 8 * 4 * 4, "teacher_forwards": 10 * m["calls"], "seconds": seconds}
    assert card["noise_seeds"] == [5]
    assert card["data_sha256"] == sha256(folder / "trajectories.json")
    assert card["parameters"] == sum(p.numel() for p in from_teacher(teacher, DSNOConfig()).parameters())
    assert card["recipe"] == {"dsno": learning(teacher_card)}
    assert card["trajectories"] == {
        **{k: m[k] for k in ("teacher", "solver", "steps", "target", "seed", "labels")},
        "used": 10,
    }
    curve = card["training"]["curve"]
    assert [row["step"] for row in curve] == [4, 8]
    assert curve[-1].keys() > {"loss", "error@0.5625", "error@0.25", "error@0.0625", "error@0", "seen_error"}
    assert (card["training"]["steps"], card["training"]["images"]) == (8, 32)


def ema_network(trained, teacher, half: bool) -> DSNO:
    tensors, _ = load_tensors(trained.parent / "checkpoint.safetensors")
    network = from_teacher(teacher, DSNOConfig()).eval()
    ema = {k.removeprefix("ema/"): v for k, v in tensors.items() if k.startswith("ema/")}
    network.load_state_dict({k: v.half().float() if half else v for k, v in ema.items()})
    return network


def test_weights_are_the_averaged_ones(trained, teacher):
    network, schedule = load_student(find_card("dsno", trained))
    z, labels = samplers.noise(1, range(4), teacher.shape), torch.tensor([0, 1, 2, -1])
    logsnr = logsnr_at(schedule, DSNOConfig().times()).expand(4, -1)
    images = network(z, logsnr, labels)
    assert relative(images, ema_network(trained, teacher, half=True)(z, logsnr, labels)) < 1e-5
    whole = ema_network(trained, teacher, half=False)(z, logsnr, labels)
    assert relative(images, whole) < 5e-3
    sampler = samplers.get(f"dsno:student={trained}")
    assert relative(sampler.sample(teacher, z, steps=1, labels=labels), whole[:, -1]) < 5e-3
    start = from_teacher(teacher, DSNOConfig())(z, logsnr, labels)
    assert relative(whole, start) > 1e-2  # it has moved


def test_errors_are_those_of_other_noises(trained, teacher):
    """Relative RMSE of the averaged weights on the held-out seed, each time by itself, and on the first seen for the image."""
    network, row = ema_network(trained, teacher, half=False), json.loads(trained.read_text())["training"]["validation"]
    solver, times = samplers.get("dpmpp_2m"), DSNOConfig().times()
    wanted = [teacher.schedule.sigma(t) if t else 0.0 for t in times]
    levels = levels_through(sigmas(teacher.schedule, 6, solver.grid), wanted)
    labels, found = torch.arange(5) % 3, {}
    for seed in (77, 5):
        z = samplers.noise(seed, range(5), teacher.shape)
        true = path_of(solver, teacher, z, levels, wanted, labels=labels)
        with torch.no_grad():
            wrong = network(z, logsnr_at(teacher.schedule, times).expand(5, -1), labels) - true
        found[seed] = [float(wrong[:, i].norm() / true[:, i].norm()) for i in range(4)]
    assert [row[f"error@{t:g}"] for t in times] == pytest.approx(found[77], rel=1e-4)
    assert row["seen_error"] == pytest.approx(found[5][-1], rel=2e-3)  # kept in half precision


def test_knowledge_distillation_is_the_same_with_one_point(folder, teacher, teacher_card, tmp_path):
    changes = {"name": "kd", "optimisation": {"steps": 2, "validate_every": 2}}
    recipe = write_recipe(tmp_path / "recipe.yaml", dsno=learning(teacher_card), knowledge_distillation=changes)
    path = dsno.training.KnowledgeDistillation.train(recipe, folder, tmp_path / "kd", quiet=True)
    card = json.loads(path.read_text())
    assert path.name == "kd.json"
    assert (card["operator"]["points"], card["operator"]["modes"]) == (1, 0)
    assert card["cost"]["student_forwards"] == 2 * 4
    assert card["parameters"] == sum(p.numel() for p in teacher.parameters())
    sampler, z = samplers.get(f"knowledge_distillation:student={path}"), samplers.noise(1, [0], teacher.shape)
    assert sampler.sample(teacher, z, steps=1, labels=torch.tensor([1])).shape == (1, 1, 8, 8)


class Spoilt:
    """`path_loss`, until its call number `at` (from 0)."""

    def __init__(self, at, how):
        self.at, self.how, self.calls = at, how, 0

    def __call__(self, *args):
        self.calls += 1
        value = path_loss(*args)
        return self.how(value) if self.calls - 1 == self.at else value


def interrupt(value):
    raise KeyboardInterrupt


def test_interrupted_run_goes_on_bit_for_bit(trained, folder, teacher_card, tmp_path, monkeypatch):
    r = learning(teacher_card)
    for at in (3, 2):  # in step 3, then in step 5
        monkeypatch.setattr(dsno.training, "path_loss", Spoilt(at, interrupt))
        with pytest.raises(KeyboardInterrupt):
            train_student(r, folder, tmp_path)
        assert not (tmp_path / "learner.json").exists()
    assert load_tensors(tmp_path / "checkpoint.safetensors")[1]["step"] == 5
    kept = tmp_path / "held_out.safetensors"
    kept.write_bytes(kept.read_bytes()[:-3])  # cut short by a kill: made again
    monkeypatch.setattr(dsno.training, "path_loss", spy := Spoilt(-1, interrupt))
    card = train_student(r, folder, tmp_path)
    assert spy.calls == 3
    a, b = (load_tensors(f / "checkpoint.safetensors")[0] for f in (trained.parent, tmp_path))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)
    for name in ("learner.safetensors", "held_out.safetensors"):
        assert (tmp_path / name).read_bytes() == (trained.parent / name).read_bytes()
    validation = [json.loads(c.read_text())["training"]["validation"] for c in (card, trained)]
    assert validation[0] == validation[1]


def test_nan_says_the_step_and_keeps_the_checkpoint(folder, teacher_card, tmp_path, monkeypatch):
    monkeypatch.setattr(dsno.training, "path_loss", Spoilt(2, lambda v: v * math.nan))
    with pytest.raises(UserError, match=r"learner: loss or gradient is not finite at step 2; the checkpoint .* is kept") as e:
        train_student(learning(teacher_card), folder, tmp_path)
    assert "\n" not in str(e.value)
    assert load_tensors(tmp_path / "checkpoint.safetensors")[1]["step"] == 2
    assert not (tmp_path / "learner.json").exists()


def test_trajectories_made_again_elsewhere_are_the_same_training(trained, folder, teacher_card, tmp_path):
    """Another machine's differ in their last bits, and so in their hashes; a checkpoint goes on with them."""
    remade = shutil.copytree(folder, tmp_path / "trajectories")
    manifest = json.loads((remade / "trajectories.json").read_text())
    for shard in manifest["shards"]:
        tensors, stamp = load_tensors(remade / shard["file"])
        tensors["frames"] = torch.nextafter(tensors["frames"], torch.zeros_like(tensors["frames"]))
        shard["sha256"] = save_tensors(remade / shard["file"], tensors, stamp)
    (remade / "trajectories.json").write_text(json.dumps(manifest))
    out = shutil.copytree(trained.parent, tmp_path / "student")
    before = (out / "learner.safetensors").read_bytes()
    card = json.loads(train_student(learning(teacher_card), remade, out).read_text())
    assert (out / "learner.safetensors").read_bytes() == before
    assert card["data_sha256"] == sha256(remade / "trajectories.json") != sha256(folder / "trajectories.json")


def test_dropout_of_the_recipe_is_the_student_s(folder, teacher_card, tmp_path):
    card = json.loads(train_student(learning(teacher_card) | {"dropout": 0.5}, folder, tmp_path).read_text())
    assert card["network"]["dropout"] == 0.5
    with pytest.raises(UserError, match="dropout must be below 1, got 1"):
        train_student(learning(teacher_card) | {"dropout": 1}, folder, tmp_path / "no")


def test_another_recipe_in_the_same_folder(trained, folder, teacher_card, tmp_path):
    out = shutil.copytree(trained.parent, tmp_path / "student")
    before = (out / "learner.safetensors").read_bytes()
    for change in ({"weights": "flat"}, {"trajectories": 9}, {"loss": {"l2": 1}}):
        with pytest.raises(UserError, match="is of another training"):
            train_student(learning(teacher_card) | change, folder, out)
    assert (out / "learner.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"held_out": {"count": 5, "seed": 5}}, "held_out: seed 5 is that of the trajectories trained on; choose another"),
        ({"trajectories": 11}, "holds 10 trajectories, the recipe wants 11"),
        ({"target": "state"}, "holds target 'x0', the recipe wants 'state'"),
        ({"network": {"grid": "uniform"}}, "the student needs 0.75 too"),
        ({"network": {"pointz": 4}}, "network: .*'pointz'"),
        ({"network": {"modes": 4}}, "4 time points have 3 Fourier modes"),
        ({"weights": "snrr"}, "unknown weights 'snrr'"),
        ({"loss": {"l3": 1}}, "unknown loss 'l3'"),
        ({"loss": {}}, "loss must not be empty"),
        ({"optimisation": {"steps": 8, "batches": 4}}, "optimisation: .*'batches'"),
        ({"teacher": "mnits"}, "unknown teacher 'mnits'"),
        ({"weight": "flat"}, "'weight'; did you mean 'weights'"),
    ],
)
def test_a_recipe_that_cannot_be(folder, teacher_card, tmp_path, change, told):
    with pytest.raises(UserError, match=told) as e:
        train_student(learning(teacher_card) | change, folder, tmp_path)
    assert "\n" not in str(e.value)
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_a_batch_that_cannot_be_shared(folder, teacher_card, tmp_path, monkeypatch):
    monkeypatch.setattr(World, "join", lambda device: World(1, 3, torch.device("cpu")))
    with pytest.raises(UserError, match="a batch of 4 cannot be shared by 3 processes; choose a multiple"):
        train_student(learning(teacher_card), folder, tmp_path)


def test_two_processes_train_the_same(folder, teacher_card, tmp_path):
    """One update: later ones magnify the rounding in which two half batches differ from a whole one."""
    r = learning(teacher_card, steps=1)
    one = train_student(r, folder, tmp_path / "one")
    write_json(tmp_path / "learning.json", r)
    code = f"import json, sys\nsys.path.insert(0, {tiny.__file__.removesuffix('tiny.py')!r})\nimport tiny\n"
    code += f"from pathlib import Path\nr = json.load(open('learning.json'))\ndata = Path({str(folder)!r})\n"
    in_two_processes(code + "tiny.train_student(r, data, Path('two'))", tmp_path)
    assert difference(one.parent, tmp_path / "two") < 1e-2
    costs = [json.loads(card.read_text())["cost"] for card in (one, tmp_path / "two" / one.name)]
    for key in ("student_forwards", "teacher_forwards"):
        assert costs[0][key] == costs[1][key]
