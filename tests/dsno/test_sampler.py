"""The sampler `dsno`: one call of M forwards, a student that fits its teacher, and stages that cover its network."""

import json
import pickle
from itertools import combinations, pairwise

import pytest
import torch
from tiny import SIZES, mixing, relative, teacher_of, write_student, write_teacher

import samplers
from bench.instruments.clock import Clock
from bench.instruments.meter import Meter
from dsno.loading import load_student
from dsno.network import DSNOConfig, from_teacher, logsnr_at
from dsno.temporal import FORMS
from samplers import Student, UserError, load_teacher
from samplers.files import sha256
from samplers.models.unet import Attention, ResBlock
from samplers.models.weights import load_tensors, save_tensors
from samplers.models.zoo import find_card

LABELS = torch.tensor([0, 2, 1])


def start(teacher, batch: int = 3) -> torch.Tensor:
    return samplers.noise(9, range(batch), teacher.shape)


def counted(spec: str, teacher) -> tuple[int, int, torch.Tensor]:
    """Calls and forwards of one run of three images, and the images."""
    meter, sampler = Meter(teacher, Clock(torch.device("cpu"))), samplers.get(spec)
    sampler.prepare(meter, "cpu", 1)
    with meter.watching(sampler), torch.no_grad():
        images = sampler.sample(meter, start(teacher), steps=1, labels=LABELS)
    return meter.count.calls, meter.count.forwards, images


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("config", [DSNOConfig(), DSNOConfig(points=3, grid="uniform", modes=0)])
def test_one_call_of_m_forwards(tmp_path, teacher, config, form):
    card = write_student(tmp_path, teacher, config)
    calls, forwards, images = counted(f"dsno:student={card}:form={form}", teacher)
    assert (calls, forwards) == (1, 3 * config.points)
    network, schedule = load_student(find_card("dsno", card), form="fft")
    logsnr = torch.tensor([-2 * torch.tensor(schedule.sigma(t)).log() for t in config.times()]).expand(3, -1)
    assert relative(images, network(start(teacher), logsnr, LABELS)[:, -1]) < 1e-5


def test_knowledge_distillation_is_one_forward(tmp_path, teacher):
    card = write_student(tmp_path, teacher, DSNOConfig(points=1, modes=0))
    calls, forwards, images = counted(f"knowledge_distillation:student={card}", teacher)
    assert (calls, forwards) == (1, 3)
    assert relative(images, teacher.network(start(teacher), torch.full((3,), 2 * torch.tensor(100.0).log()), LABELS)) < 1e-5


@pytest.mark.parametrize("config", [DSNOConfig(), DSNOConfig(points=3, grid="uniform", modes=1), DSNOConfig(points=2, modes=0)])
def test_callback_is_told_of_every_point(tmp_path, teacher, config):
    sampler, told = samplers.get(f"dsno:student={write_student(tmp_path, teacher, config)}"), []
    z = start(teacher)
    image = sampler.sample(teacher, z, steps=1, labels=LABELS, callback=lambda *row: told.append(row))
    assert [i for i, *_ in told] == list(range(config.points))
    levels = [level for _, level, _, _ in told]
    assert levels[:-1] == [teacher.schedule.sigma(t) for t in config.times()[:-1]]
    assert levels[-1] == 0.0
    assert all(a > b for a, b in pairwise(levels))
    assert torch.equal(told[-1][3], image)
    assert relative(sampler.sample(teacher, z, steps=1, labels=LABELS), image) < 1e-6
    assert all(x.shape == denoised.shape == image.shape for _, _, x, denoised in told)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_images_follow_the_noise(student_card, teacher, dtype):
    sampler, told = samplers.get(f"dsno:student={student_card}"), []
    z = start(teacher).to(dtype)
    assert sampler.sample(teacher, z, steps=1, labels=LABELS).dtype == dtype
    sampler.sample(teacher, z, steps=1, labels=LABELS, callback=lambda *row: told.append(row[3].dtype))
    assert set(told) == {dtype}


def test_images_do_not_depend_on_the_batch(student_card, teacher):
    sampler, labels = samplers.get(f"dsno:student={student_card}"), torch.tensor([0, 2, 1, -1, 0, 1, 2])
    together = sampler.sample(teacher, start(teacher, 7), steps=1, labels=labels)
    for i in (0, 3, 6):
        alone = sampler.sample(teacher, start(teacher, 7)[i : i + 1], steps=1, labels=labels[i : i + 1])
        assert relative(alone, together[i : i + 1]) < 1e-5


def test_a_device_without_its_number_is_the_same(student_card, teacher):
    """As `bench run --device cuda` prepares on "cuda", and the noise says "cuda:0"; here the CPU's two names."""
    sampler = samplers.get(f"dsno:student={student_card}")
    sampler.prepare(teacher, "cpu:0", 1)
    [network] = sampler.networks()
    sampler.sample(teacher, start(teacher), steps=1, labels=LABELS)
    assert sampler.networks()[0] is network


def test_what_is_prepared_is_used(student_card, teacher):
    sampler = samplers.get(f"dsno:student={student_card}")
    sampler.prepare(teacher, "cpu", 1)
    [network] = sampler.networks()
    sampler.sample(teacher, start(teacher), steps=1, labels=LABELS)
    assert sampler.networks()[0] is network


def test_student_is_told_of(student_card, teacher):
    sampler = samplers.get(f"dsno:student={student_card}")
    assert (sampler.student, sampler.networks(), sampler.stages()) == (None, [], {})
    sampler.prepare(teacher, "cpu", 1)
    told = sampler.student
    assert isinstance(told, Student)
    assert (told.name, told.sha256) == ("student", json.loads(student_card.read_text())["sha256"])
    assert told.noise_seeds == (5,)
    assert told.training.items() >= {"seconds": 3, "cost": {"student_forwards": 1, "teacher_forwards": 2}}.items()
    assert [type(n).__name__ for n in sampler.networks()] == ["DSNO"]
    assert not any(p.requires_grad for p in sampler.networks()[0].parameters())


def refused(spec: str, teacher, labels=LABELS, **options) -> str:
    with pytest.raises(UserError) as e:
        samplers.get(spec).sample(teacher, start(teacher), **{"steps": 1, "labels": labels} | options)
    assert "\n" not in str(e.value)
    return str(e.value)


def rewrite(card, **changes):
    content = json.loads(card.read_text()) | changes
    card.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    return f"dsno:student={card}"


def test_student_of_another_teacher(student_card, tmp_path, teacher):
    other = load_teacher(write_teacher(tmp_path, seed=1))
    told = refused(f"dsno:student={student_card}", other)
    assert f"another version of teacher tiny ({teacher.sha256[:12]}...), not of this one ({other.sha256[:12]}...)" in told
    assert "student of teacher None" in refused(rewrite(student_card, teacher=None), teacher)


def test_no_student(teacher, tmp_path):
    assert "unknown dsno 'nobody'" in refused("dsno:student=nobody", teacher)
    assert "none.json (No such file or directory)" in refused(f"dsno:student={tmp_path}/none.json", teacher)
    for name in ("dsno", "knowledge_distillation"):
        assert f"no {name} student of this teacher ({teacher.sha256[:12]}...) ships" in refused(name, teacher)


def test_card_of_something_else(teacher_card, teacher):
    assert "is the card of a teacher, not of a dsno" in refused(f"dsno:student={teacher_card}", teacher)


def test_options_that_are_none():
    with pytest.raises(UserError, match="unknown form of the temporal layer 'fold'; did you mean 'folded'"):
        samplers.get("dsno:form=fold")
    with pytest.raises(UserError, match="unknown option of dsno 'studant'"):
        samplers.get("dsno:studant=x")


def test_missing_weights(student_card, teacher):
    (student_card.parent / "student.safetensors").unlink()
    assert "no weights at" in refused(f"dsno:student={student_card}", teacher)


@pytest.mark.parametrize("hashed", [False, True])
def test_truncated_weights(student_card, teacher, hashed):
    """Told by the hash, or, where the card has that of the truncated file, by the file itself."""
    path = student_card.parent / "student.safetensors"
    path.write_bytes(path.read_bytes()[:-11])
    spec = rewrite(student_card, **({"sha256": sha256(path)} if hashed else {}))
    assert ("not a whole safetensors file" if hashed else "SHA-256 is") in refused(spec, teacher)


def test_a_pickle_in_place_of_weights(student_card, teacher):
    path = student_card.parent / "student.safetensors"

    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was read",))

    path.write_bytes(pickle.dumps(Trap()))
    assert "not a whole safetensors file" in refused(rewrite(student_card, sha256=sha256(path)), teacher)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_diverged(student_card, teacher, value):
    network = from_teacher(teacher, DSNOConfig())
    with torch.no_grad():
        network.temporal[2].weight[0, 0, 0, 0] = value
    digest = save_tensors(student_card.parent / "student.safetensors", network.state_dict())
    assert "NaN or infinite numbers in 'temporal.2.weight'" in refused(rewrite(student_card, sha256=digest), teacher)


@pytest.mark.parametrize("key", ["weights", "sha256", "network", "operator", "sigma_min", "sigma_max", "labels", "name"])
def test_a_card_without_a_key_says_which(student_card, teacher, key):
    told = refused(rewrite(student_card, **{key: None}), teacher)
    assert str(student_card) in told
    assert key in told.removeprefix(str(student_card))


@pytest.mark.parametrize(
    ("operator", "told"),
    [
        ({"points": 8, "grid": "quadratic", "modes": 2}, "weights are of"),  # which no weight's shape tells
        ({"points": 4, "grid": "uniform", "modes": 2}, "weights are of"),
        ({"points": 4, "grid": "quadratic", "modes": 3}, "weights are of"),
        ({"points": 4, "grid": "quadratic", "modes": 0}, "weights are of"),
        ({"points": 4, "mode": 2}, "operator: unknown key 'mode'; did you mean 'modes'?"),
    ],
)
def test_a_card_of_another_operator(student_card, teacher, operator, told):
    assert told in refused(rewrite(student_card, operator=operator), teacher)


@pytest.mark.parametrize(
    ("operator", "told"),
    [
        ({"points": 4, "grid": "quadratic", "modes": 3}, "the network needs"),
        ({"points": 4, "grid": "quadratic", "modes": 0}, "weights are of another network"),
        ({"points": 4, "grid": "quadratic", "modes": 4}, "4 time points have 3 Fourier modes, got 4"),
        ({"points": 4, "grid": "quartic", "modes": 2}, "unknown grid 'quartic'"),
        ({"points": 4, "modes": 2, "mode": 2}, "'mode'"),
    ],
)
def test_a_card_of_another_operator_whose_weights_tell_nothing(student_card, teacher, operator, told):
    path = student_card.parent / "student.safetensors"
    digest = save_tensors(path, load_tensors(path)[0])
    assert told in refused(rewrite(student_card, operator=operator, sha256=digest), teacher)


@pytest.mark.parametrize(("key", "value"), [("width", 16), ("widht", 8), ("multipliers", [1, 1]), ("classes", 0)])
def test_a_card_of_another_backbone(student_card, teacher, key, value):
    refused(rewrite(student_card, network=SIZES.values() | {key: value}), teacher)


def test_images_of_another_shape(student_card, teacher):
    spec = rewrite(student_card, network=SIZES.values() | {"image_size": 16, "attention": [8]})
    assert "the student makes images of (1, 16, 16), the teacher of (1, 8, 8)" in refused(spec, teacher)


def test_labels_are_those_the_student_knows(student_card, teacher):
    assert "student was trained with class labels" in refused(f"dsno:student={student_card}", teacher, labels=None)
    spec = rewrite(student_card, labels="none")
    assert "student was trained without class labels" in refused(spec, teacher)
    unlabelled = samplers.get(spec)
    images = unlabelled.sample(teacher, start(teacher), steps=1)
    assert unlabelled.student.labels == "none"
    network, logsnr = unlabelled.networks()[0], logsnr_at(teacher.schedule, DSNOConfig().times()).expand(3, -1)
    assert relative(images, network(start(teacher), logsnr, torch.full((3,), -1))[:, -1]) < 1e-5


def test_noisy_states_are_no_images(student_card, teacher):
    """A student of states tells of its last point alone, where the state is the image."""
    sampler, told = samplers.get(rewrite(student_card, target="state")), []
    image = sampler.sample(teacher, start(teacher), steps=1, labels=LABELS, callback=lambda *row: told.append(row))
    [(i, level, x, denoised)] = told
    assert (i, level) == (0, 0.0)
    assert torch.equal(x, image)
    assert torch.equal(denoised, image)


def test_the_methods_are_told_apart(tmp_path, student_card, teacher):
    assert "dsno:student=" in refused(f"knowledge_distillation:student={student_card}", teacher)
    (tmp_path / "kd").mkdir()
    card = write_student(tmp_path / "kd", teacher, DSNOConfig(points=1, modes=0))
    assert "knowledge_distillation:student=" in refused(f"dsno:student={card}", teacher)


def test_a_prepared_sampler_asks_again_for_another_teacher(student_card, tmp_path, teacher):
    """Each time: the student of the first must not sample for the second."""
    sampler, other = samplers.get(f"dsno:student={student_card}"), load_teacher(write_teacher(tmp_path, seed=1))
    image = sampler.sample(teacher, start(teacher), steps=1, labels=LABELS)
    for _ in range(2):
        with pytest.raises(UserError, match="is a student of another version of teacher tiny"):
            sampler.sample(other, start(other), steps=1, labels=LABELS)
    assert torch.equal(sampler.sample(teacher, start(teacher), steps=1, labels=LABELS), image)


def test_one_step_of_the_teachers_shape(student_card, teacher):
    assert "dsno cannot take 2 steps; it takes 1" in refused(f"dsno:student={student_card}", teacher, steps=2)
    sampler = samplers.get(f"dsno:student={student_card}")
    with pytest.raises(UserError, match="noise has shape"):
        sampler.sample(teacher, torch.zeros(1, 3, 8, 8), steps=1, labels=LABELS[:1])


@pytest.mark.parametrize("config", [DSNOConfig(), DSNOConfig(points=3, modes=0)])
def test_stages_share_out_the_network(tmp_path, teacher, config):
    sampler = samplers.get(f"dsno:student={write_student(tmp_path, teacher, config)}")
    sampler.prepare(teacher, "cpu", 1)
    stages, network = sampler.stages(), sampler.networks()[0]
    counts = {name: [id(p) for m in modules for p in m.parameters()] for name, modules in stages.items()}
    assert sorted(i for own in counts.values() for i in own) == sorted(id(p) for p in network.parameters())  # each once
    for a, b in combinations([m for modules in stages.values() for m in modules], 2):
        assert a is not b
        assert not any(m is b for m in a.modules())
        assert not any(m is a for m in b.modules())
    expected = {"input convolution", "time embedding", "spatial blocks 8x8", "spatial blocks 4x4", "attention", "output"}
    assert set(stages) == expected | ({"temporal layers"} if config.modes else set())
    assert all(stages.values())


def test_spatial_blocks_are_told_apart_by_resolution(student_card, teacher):
    """By what reaches them; one that resamples counts where it starts."""
    sampler, seen = samplers.get(f"dsno:student={student_card}"), {}
    sampler.prepare(teacher, "cpu", 1)
    for m in sampler.networks()[0].modules():
        if isinstance(m, ResBlock):
            m.register_forward_pre_hook(lambda module, args: seen.update({module: args[0].shape[-1]}))
    sampler.sample(teacher, start(teacher), steps=1, labels=LABELS)
    found = {m: int(name.split("x")[-1]) for name, modules in sampler.stages().items() for m in modules if "spatial" in name}
    assert found == seen
    assert set(sampler.stages()["attention"]) == {m for m in sampler.networks()[0].modules() if isinstance(m, Attention)}


def test_fresh_and_mixing_students_differ():
    """The students above have temporal layers that matter."""
    teacher = teacher_of()
    z, logsnr = start(teacher), torch.tensor([[-1.0, 0.0, 2.0, 9.0]] * 3)
    fresh = from_teacher(teacher, DSNOConfig())
    before = fresh(z, logsnr)
    assert relative(mixing(fresh)(z, logsnr), before) > 0.1
