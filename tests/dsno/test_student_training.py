"""Training a student: the loss, exact Gaussian paths learnt, a run end to end, killed, in two processes, and the ablations."""

import json
import math
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from processes import difference
from tiny import SIZES, Gaussian, in_two_processes, learning, making, relative, teacher_of, write_json, write_recipe
from torch import nn

import dsno.ablation
import dsno.training
import dsno.trajectory_making
import samplers
from dsno.ablation import summary, variants
from dsno.losses import Perceptual, l1, l2, path_loss, teacher_features, terms, vgg_features
from dsno.network import DSNO, DSNOConfig, from_teacher, logsnr_at
from dsno.students import load_student
from dsno.times import loss_weights
from dsno.training import train_student
from dsno.trajectory_making import seconds_taken
from samplers import CosineSchedule, UserError, sigmas
from samplers.distributed import World
from samplers.paths import levels_through, path_of
from samplers.teacher import find_card
from samplers.training import Optimisation, fit
from samplers.weights import load_tensors, save_tensors, sha256

# Losses


def images(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("factors", "formula"),
    [
        ({"l1": 1.0}, lambda d: np.abs(d)),
        ({"l2": 1.0}, lambda d: d**2),
        ({"l1": 0.5, "l2": 3.0}, lambda d: 0.5 * np.abs(d) + 3 * d**2),
    ],
)
def test_path_loss_is_the_formula(factors, formula):
    """sum_i w_i mean_pixels / sum_i w_i, averaged over the batch."""
    predicted, true = images(0, 3, 4, 2, 5, 5), images(1, 3, 4, 2, 5, 5)
    weights = torch.tensor([1.0, 2.5, 10.0, 100.0])
    d = formula((predicted - true).double().numpy()).mean(axis=(2, 3, 4))  # [B, M]
    w = weights.double().numpy()
    expected = (d * w / w.sum()).sum(axis=1).mean()
    found = path_loss(predicted, true, weights, terms(factors, teacher_of(), "teacher"))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_terms_are_means_of_each_image():
    a, b = images(0, 3, 1, 4, 4), images(1, 3, 1, 4, 4)
    torch.testing.assert_close(l1(a, b), torch.stack([(x - y).abs().mean() for x, y in zip(a, b, strict=True)]))
    torch.testing.assert_close(l2(a, b), torch.stack([(x - y).square().mean() for x, y in zip(a, b, strict=True)]))


def perceptual_by_hand(maps: list[torch.Tensor], others: list[torch.Tensor]) -> torch.Tensor:
    total = 0.0
    for f, g in zip(maps, others, strict=True):
        f, g = (m / m.norm(dim=1, keepdim=True) for m in (f.double(), g.double()))
        total = total + (f - g).square().sum(dim=1).mean(dim=(1, 2))
    return total


def test_perceptual_loss_of_the_teachers_features():
    teacher = teacher_of(replace(SIZES, patch=2, attention=(2,)))
    features, a, b = teacher_features(teacher), images(0, 2, 1, 8, 8).requires_grad_(), images(1, 2, 1, 8, 8)
    perceptual = Perceptual(features)
    assert not perceptual(b, b).any()
    loss = perceptual(a, b)
    assert loss.shape == (2,)
    assert (loss > 0).all()
    torch.testing.assert_close(loss.detach().double(), perceptual_by_hand(features(a), features(b)).detach(), rtol=1e-3, atol=0)
    loss.sum().backward()
    assert torch.isfinite(a.grad).all()
    assert (a.grad != 0).all()


def test_teachers_features_are_those_on_its_way_down():
    """Told sigma = 0.1 and no class."""
    teacher, seen = teacher_of(), []
    on_the_way = (teacher.network.conv_in, *teacher.network.down)
    hooks = [m.register_forward_hook(lambda _m, _a, out: seen.append(out)) for m in on_the_way]
    x = images(0, 2, 1, 8, 8)
    teacher.network(x, torch.full((2,), -2 * math.log(0.1)), None)
    for hook in hooks:
        hook.remove()
    found = teacher_features(teacher)(x)
    assert len(found) == len(seen) == 4
    assert all(relative(a, b) < 1e-6 for a, b in zip(found, seen, strict=True))


def test_perceptual_loss_of_features_all_zero():
    perceptual = Perceptual(lambda x: [x.relu()])
    a = torch.full((1, 3, 2, 2), -1.0, requires_grad=True)
    loss = perceptual(a, a.detach())
    loss.sum().backward()
    assert not loss.detach().any()
    assert torch.isfinite(a.grad).all()
    b = torch.zeros(1, 3, 2, 2, requires_grad=True)
    loss = Perceptual(lambda x: [x])(b, torch.ones(1, 3, 2, 2))
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(b.grad).all()


def test_perceptual_loss_of_the_scale_is_none():
    """Unit-normalised: what is left of a factor is the small constant's."""
    f = images(0, 1, 3, 4, 4)
    assert float(Perceptual(lambda x: [x])(5 * f, f)) < 1e-6
    assert float(Perceptual(lambda x: [x])(-f, f)) == pytest.approx(4, rel=1e-3)


def test_a_loss_that_is_none(tmp_path):
    with pytest.raises(UserError, match="unknown loss 'l3'; did you mean 'l"):
        terms({"l1": 1, "l3": 1}, teacher_of(), "teacher")
    with pytest.raises(UserError, match="the loss has no term; give one or more of l1, l2, perceptual"):
        terms({}, teacher_of(), "teacher")
    with pytest.raises(UserError, match="no weights at"):
        terms({"perceptual": 1}, teacher_of(), str(tmp_path / "vgg.safetensors"))


@pytest.fixture(scope="module")
def vgg():
    """torchvision's own layers of VGG-16, random."""
    from torchvision.models.vgg import cfgs, make_layers

    torch.manual_seed(0)
    return make_layers(cfgs["D"]).eval().requires_grad_(False)


def test_vgg_features_are_torchvisions(vgg, tmp_path):
    path = tmp_path / "vgg.safetensors"
    extra = {"classifier.0.weight": torch.zeros(2, 2)}
    save_tensors(path, {f"features.{k}": v for k, v in vgg.state_dict().items()} | extra)
    features = vgg_features(path)
    for channels in (3, 1):
        x = images(0, 1, channels, 32, 32)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])  # ImageNet's, of [0, 1]
        h, expected = (((x + 1) / 2).expand(1, 3, 32, 32) - mean[:, None, None]) / std[:, None, None], []
        for module in vgg:
            if isinstance(module, nn.MaxPool2d):
                expected.append(h)
            h = F.relu(h) if isinstance(module, nn.ReLU) else module(h)  # torchvision's are in place
        found = features(x)
        assert [f.shape[1:] for f in found] == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)]
        assert all(relative(a, b) < 1e-5 for a, b in zip(found, expected, strict=True))


def test_vgg_weights_that_are_none(vgg, tmp_path):
    path = tmp_path / "vgg.pth"
    path.write_bytes(pickle.dumps({"features.0.weight": [1.0]}))
    with pytest.raises(UserError, match=r"not a whole safetensors file .*pickles are not read"):
        vgg_features(path)
    save_tensors(path, {f"features.{k}": v for k, v in list(vgg.state_dict().items())[:4]})
    with pytest.raises(UserError, match="weights are of another network"):
        vgg_features(path)


# Gaussian data, where the whole path is known


def test_student_learns_the_exact_path_of_gaussian_data(tmp_path):
    """One channel, x0_hat = 0.4 + c(t) z with c = 0.25, 0.5, 0.71, 0.8: the relative error of every time ends below
    BOUND, less than a student would get that gave one time for its neighbour (10 %), and far below the untrained one's."""
    bound = 0.08
    gaussian = Gaussian(torch.full((1, 4, 4), 0.4), torch.full((1, 4, 4), 0.8))
    config, schedule = DSNOConfig(grid="uniform"), CosineSchedule(0.002, 80.0)
    levels = [schedule.sigma(t) for t in config.times()]
    weights = torch.tensor(loss_weights(schedule, config.times(), "flat"))
    logsnr = logsnr_at(schedule, config.times())

    def path(z: torch.Tensor) -> torch.Tensor:
        return torch.stack([gaussian.image(z, s) for s in levels], dim=1).float()

    def loss(network: nn.Module, generator: torch.Generator, step: int) -> torch.Tensor:
        z = torch.randn(16, 1, 4, 4, generator=generator)
        return path_loss(network(z, logsnr.expand(16, -1)), path(z), weights, [(1.0, l2)])

    torch.manual_seed(0)
    backbone = replace(SIZES, image_size=4, width=16, multipliers=(1,), attention=(), embedding=32, classes=0)
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
    return dsno.training.train(recipe, None, out / "student", quiet=True)


def test_card_says_what_was_trained(trained, teacher, folder, teacher_card):
    card, m = json.loads(trained.read_text()), json.loads((folder / "trajectories.json").read_text())
    assert trained.name == "learner.json"
    assert (card["kind"], card["name"], card["target"], card["labels"]) == ("dsno", "learner", "x0", "balanced")
    assert card["teacher"] == {"name": "tiny", "sha256": teacher.sha256}
    assert card["operator"] == {"points": 4, "grid": "quadratic", "modes": 2}
    assert card["network"] == SIZES.to_dict()
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
    path = dsno.training.train_knowledge_distillation(recipe, folder, tmp_path / "kd", quiet=True)
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
            train_student(r, folder, tmp_path, quiet=True)
        assert not (tmp_path / "learner.json").exists()
    assert load_tensors(tmp_path / "checkpoint.safetensors")[1]["step"] == 5
    kept = tmp_path / "held_out.safetensors"
    kept.write_bytes(kept.read_bytes()[:-3])  # cut short by a kill: made again
    monkeypatch.setattr(dsno.training, "path_loss", spy := Spoilt(-1, interrupt))
    card = train_student(r, folder, tmp_path, quiet=True)
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
        train_student(learning(teacher_card), folder, tmp_path, quiet=True)
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
    card = json.loads(train_student(learning(teacher_card), remade, out, quiet=True).read_text())
    assert (out / "learner.safetensors").read_bytes() == before
    assert card["data_sha256"] == sha256(remade / "trajectories.json") != sha256(folder / "trajectories.json")


def test_dropout_of_the_recipe_is_the_student_s(folder, teacher_card, tmp_path):
    card = json.loads(train_student(learning(teacher_card) | {"dropout": 0.5}, folder, tmp_path, quiet=True).read_text())
    assert card["network"]["dropout"] == 0.5
    with pytest.raises(UserError, match="dropout must be below 1, got 1"):
        train_student(learning(teacher_card) | {"dropout": 1}, folder, tmp_path / "no", quiet=True)


def test_another_recipe_in_the_same_folder(trained, folder, teacher_card, tmp_path):
    out = shutil.copytree(trained.parent, tmp_path / "student")
    before = (out / "learner.safetensors").read_bytes()
    for change in ({"weights": "flat"}, {"trajectories": 9}, {"loss": {"l2": 1}}):
        with pytest.raises(UserError, match="is of another training"):
            train_student(learning(teacher_card) | change, folder, out, quiet=True)
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
        ({"loss": {}}, "the loss has no term"),
        ({"optimisation": {"steps": 8, "batches": 4}}, "optimisation: .*'batches'"),
        ({"teacher": "mnits"}, "unknown teacher 'mnits'"),
        ({"weight": "flat"}, "'weight'; did you mean 'weights'"),
    ],
)
def test_a_recipe_that_cannot_be(folder, teacher_card, tmp_path, change, told):
    with pytest.raises(UserError, match=told) as e:
        train_student(learning(teacher_card) | change, folder, tmp_path, quiet=True)
    assert "\n" not in str(e.value)
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_a_batch_that_cannot_be_shared(folder, teacher_card, tmp_path, monkeypatch):
    monkeypatch.setattr(World, "join", lambda device: World(1, 3, torch.device("cpu")))
    with pytest.raises(UserError, match="a batch of 4 cannot be shared by 3 processes; choose a multiple"):
        train_student(learning(teacher_card), folder, tmp_path, quiet=True)


def test_two_processes_train_the_same(folder, teacher_card, tmp_path):
    """One update: later ones magnify the rounding in which two half batches differ from a whole one."""
    r = learning(teacher_card, steps=1)
    one = train_student(r, folder, tmp_path / "one", quiet=True)
    write_json(tmp_path / "learning.json", r)
    code = f"import json\nfrom pathlib import Path\nr = json.load(open('learning.json'))\ndata = Path({str(folder)!r})\n"
    in_two_processes(code + "dsno.training.train_student(r, data, Path('two'), quiet=True)", tmp_path)
    assert difference(one.parent, tmp_path / "two") < 1e-2
    costs = [json.loads(card.read_text())["cost"] for card in (one, tmp_path / "two" / one.name)]
    for key in ("student_forwards", "teacher_forwards"):
        assert costs[0][key] == costs[1][key]


# Ablations

SECTIONS = {
    "dsno": {
        "name": "whole",
        "network": {"points": 4, "modes": 2},
        "loss": {"perceptual": 1, "l1": 0.5},
        "optimisation": {"steps": 100, "batch": 32, "seed": 9},
        "trajectories": None,
    },
    "ablations": {
        "base": {"optimisation": {"steps": 10}, "held_out": {"count": 3}},
        "held_out": {"count": 4, "seed": 78},
        "variants": {
            "dsno": {"seeds": [0, 1]},
            "kd": {"network": {"points": 1, "modes": 0}, "seeds": [1, 0, 2], "note": "one point"},
            "plain_loss": {"loss": {"l2": 1}, "optimisation": {"batch": 8}},
            "same": None,
        },
    },
}


def test_variants_merge_section_by_section():
    before = json.dumps(SECTIONS)
    found = variants(SECTIONS)
    assert json.dumps(SECTIONS) == before
    assert found["dsno-s1"] == {
        "name": "dsno-s1",
        "network": {"points": 4, "modes": 2},
        "loss": {"perceptual": 1, "l1": 0.5},
        "optimisation": {"steps": 10, "batch": 32, "seed": 1},
        "trajectories": None,
        "held_out": {"count": 3},
    }
    assert found["kd-s2"]["network"] == {"points": 1, "modes": 0}
    assert found["kd-s2"]["optimisation"]["seed"] == 2
    assert found["plain_loss-s0"]["loss"] == {"l2": 1}
    assert found["plain_loss-s0"]["optimisation"] == {"steps": 10, "batch": 8, "seed": 0}
    assert found["same-s0"] == found["dsno-s0"] | {"name": "same-s0"}
    assert not any({"seeds", "note"} & r.keys() for r in found.values())


def test_every_variant_comes_once_before_any_comes_twice():
    order = list(variants(SECTIONS))
    assert order == ["dsno-s0", "kd-s0", "plain_loss-s0", "same-s0", "dsno-s1", "kd-s1", "kd-s2"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"variants": {"kd": None}}, "'dsno'"),
        ({"variants": {"dsno": {"seeds": []}}}, "seeds"),
        ({"variants": {"dsno": None, "kd": {"netwrok": {"points": 1}}}}, "'netwrok'; did you mean 'network'"),
    ],
)
def test_variants_that_cannot_be(change, told):
    with pytest.raises(UserError, match=told) as e:
        variants({"dsno": SECTIONS["dsno"], "ablations": SECTIONS["ablations"] | change})
    assert "\n" not in str(e.value)


def synthetic(generator: np.random.Generator, ratios: dict[str, float], seeds: dict[str, int], noises: int = 200):
    """Rows and errors of students whose error (RMSE) is `ratio` times the base's, with spread between noises and seeds."""
    hardness = generator.lognormal(0, 0.7, noises)
    rows, errors = [], {}
    for v, ratio in ratios.items():
        for s in range(seeds[v]):
            own = np.exp(0.1 * generator.standard_normal()) * generator.lognormal(0, 0.2, noises)
            errors[f"{v}-s{s}"] = 0.01 * ratio**2 * hardness * own
            rows.append({"student": f"{v}-s{s}", "variant": v})
    return rows, errors


@pytest.mark.parametrize("seeds", [(8, 8, 1), (3, 2, 1)])
def test_interval_covers_the_known_ratio(seeds):
    """95 times in 100, with many seeds or as few as the recipe has."""
    generator, covered = np.random.default_rng(0), []
    for _ in range(400):
        ratios = {"dsno": 1.0, "more": 1.2, "single": 0.9}
        rows, errors = synthetic(generator, ratios, dict(zip(ratios, seeds, strict=True)))
        _, more, single = summary(rows, errors)
        covered.append((more["ratio_low"] < 1.2 < more["ratio_high"], single["ratio_low"] < 0.9 < single["ratio_high"]))
    rates = np.mean(covered, axis=0)
    assert ((rates > 0.92) & (rates < 0.98)).all(), rates


def test_summary_of_students():
    ratios, seeds = {"dsno": 1.0, "worse": 1.5, "better": 0.5, "alike": 1.01}, {"dsno": 3, "worse": 2, "better": 2, "alike": 1}
    rows, errors = synthetic(np.random.default_rng(0), ratios, seeds)
    found = {row["variant"]: row for row in summary(rows, errors)}
    assert list(found) == list(ratios)
    assert {v: row["seeds"] for v, row in found.items()} == seeds
    assert found["dsno"].keys() == {"variant", "seeds", "error"}
    for v in ratios:
        own = np.mean([e for s, e in errors.items() if s.startswith(v)])
        assert found[v]["error"] == pytest.approx(own**0.5)
        if v != "dsno":
            assert found[v]["ratio"] == pytest.approx(found[v]["error"] / found["dsno"]["error"])
            assert found[v]["ratio_low"] < found[v]["ratio"] < found[v]["ratio_high"]
    assert {v: row.get("verdict") for v, row in found.items()} == {
        "dsno": None,
        "worse": "worse",
        "better": "better",
        "alike": "not told apart",
    }


def test_without_a_second_seed_there_is_no_interval():
    rows, errors = synthetic(np.random.default_rng(0), {"dsno": 1.0, "worse": 9.0}, {"dsno": 1, "worse": 1})
    worse = summary(rows, errors)[1]
    assert (worse["ratio_low"], worse["ratio_high"]) == (None, None)
    assert worse["verdict"] not in ("worse", "better")
    assert worse["ratio"] == pytest.approx(9, rel=0.5)


def test_ablations_are_trained_once_and_compared(folder, teacher_card, tmp_path, monkeypatch):
    recipe = write_recipe(
        tmp_path / "recipe.yaml",
        dsno=learning(teacher_card),
        ablations={
            "base": {"optimisation": {"steps": 2, "validate_every": 2}},
            "held_out": {"count": 4, "seed": 78},
            "variants": {"dsno": {"seeds": [0, 1]}, "kd": {"network": {"points": 1, "modes": 0}}},
        },
    )
    table = json.loads(dsno.ablation.train(recipe, folder, tmp_path / "out", quiet=True).read_text())
    assert [(r["student"], r["variant"], r["seed"], r["points"]) for r in table["students"]] == [
        ("dsno-s0", "dsno", 0, 4),
        ("kd-s0", "kd", 0, 1),
        ("dsno-s1", "dsno", 1, 4),
    ]
    work = [(r["updates"], r["student_forwards"], r["trajectories"]) for r in table["students"]]
    assert work == [(2, 32, 10), (2, 8, 10), (2, 32, 10)]
    assert [r["variant"] for r in table["variants"]] == ["dsno", "kd"]
    assert table["held_out"] == {"count": 4, "seed": 78}
    z, labels, teacher = samplers.noise(78, range(4), (1, 8, 8)), torch.arange(4) % 3, samplers.load_teacher(teacher_card)
    maker = dsno.trajectory_making.Maker(teacher, making(teacher_card, seed=78))
    true = maker.solve(range(4))[0][:, -1]
    for row in table["students"]:
        name = row["student"]
        method = "knowledge_distillation" if row["points"] == 1 else "dsno"
        sampler = samplers.get(f"{method}:student={tmp_path / 'out' / name / name}.json")
        images = sampler.sample(teacher, z, steps=1, labels=labels)
        assert row["error"] == pytest.approx(float((images - true).norm() / true.norm()), rel=1e-4)
    monkeypatch.setattr(dsno.ablation, "train_student", lambda *_, **__: pytest.fail("trained again"))
    assert json.loads(dsno.ablation.train(recipe, folder, tmp_path / "out", quiet=True).read_text()) == table
    changed = learning(teacher_card) | {"weights": "flat"}
    write_recipe(recipe, dsno=changed, ablations=yaml.safe_load(recipe.read_text())["ablations"])
    with pytest.raises(UserError, match="was trained by another recipe"):
        dsno.ablation.train(recipe, folder, tmp_path / "out", quiet=True)
