"""Whose student the distilled samplers take, what they tell of it, and the files that they refuse."""

import json
import math
import pickle

import pytest
import torch
from changed import changed
from small import LABELS, METHODS, make_teacher, relative, start_of, write_teacher

import samplers
import samplers.distilled.sampling
from samplers import Student, UserError, load_teacher
from samplers.distilled.loading import load_student
from samplers.files import sha256
from samplers.models.unet import UNet
from samplers.models.weights import load_tensors, save_tensors
from samplers.training.student import as_teacher, card_of


def test_student_is_told_of(made, teacher):
    sampler = samplers.get(f"progressive:student={made}")
    assert (sampler.student, sampler.networks()) == (None, [])
    for steps in (2, 4):
        sampler.prepare(teacher, "cpu", steps)
        told = sampler.student
        assert isinstance(told, Student)
        assert (told.name, told.sha256) == (f"progressive-{steps}", sha256(made / f"progressive-{steps}.safetensors"))
        assert (told.noise_seeds, told.labels) == ((), "balanced")
        assert told.training == {"seconds": 3, "cost": {"student_forwards": 1, "teacher_forwards": 2}}
        [network] = sampler.networks()
        assert not any(p.requires_grad for p in network.parameters())


def test_what_is_prepared_is_used(made, teacher, monkeypatch):
    """Loaded once for each student, whatever the CPU is called."""
    loaded = []

    def counted(entry, device):
        loaded.append(entry.card["name"])
        return load_student(entry, device)

    monkeypatch.setattr(samplers.distilled.sampling, "load_student", counted)
    sampler = samplers.get(f"progressive:student={made}")
    for steps in (2, 2, 4, 4):
        sampler.prepare(teacher, "cpu:0", steps)
        sampler.prepare(teacher, "cpu", steps)
        sampler.sample(teacher, start_of(teacher), steps=steps, labels=LABELS)
    assert loaded == ["progressive-2", "progressive-4"]
    mapper = samplers.get(f"consistency:student={made / 'consistency.json'}")
    for steps in (1, 2, 4):
        mapper.prepare(teacher, "cpu", steps)
    assert loaded[2:] == ["consistency"]  # one for any number of steps


def refused(spec: str, teacher, steps: int = 1, labels=LABELS) -> str:
    with pytest.raises(UserError) as e:
        samplers.get(spec).sample(teacher, start_of(teacher), steps=steps, labels=labels)
    assert "\n" not in str(e.value)
    return str(e.value)


def rewrite(card, **changes):
    content = json.loads(card.read_text()) | changes
    card.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    return f"{content['method']}:student={card}"


def test_steps_without_a_student(folder, teacher):
    for n in (2, 8):
        (folder / f"progressive-{n}.json").unlink()
    told = f"no progressive student of 2 steps for this teacher ({teacher.sha256[:12]}...); there is one of 1, 4"
    assert told in refused(f"progressive:student={folder}", teacher, steps=2)
    assert "there is one of 4" in refused(f"progressive:student={folder / 'progressive-4.json'}", teacher, steps=2)
    assert "progressive cannot take 3 steps; it takes 1, 2, 4, 8" in refused(f"progressive:student={folder}", teacher, steps=3)


def test_no_student(teacher, tmp_path):
    for method in METHODS:
        told = f"no {method} student of this teacher ({teacher.sha256[:12]}...) ships; train one with 'bench train {method}'"
        assert told in refused(method, teacher)
        assert f"is in {tmp_path};" in refused(f"{method}:student={tmp_path}", teacher)
        assert "none.json (No such file or directory)" in refused(f"{method}:student={tmp_path}/none.json", teacher)
        assert "unknown student 'nobody'" in refused(f"{method}:student=nobody", teacher)


@pytest.mark.parametrize("method", METHODS)
def test_student_of_another_teacher(made, teacher, tmp_path, method):
    other = load_teacher(write_teacher(tmp_path, seed=1))
    card = made / ("progressive-1.json" if method == "progressive" else f"{method}.json")
    told = refused(f"{method}:student={card}", other)
    assert f"another version of teacher tiny ({teacher.sha256[:12]}...), not of this one ({other.sha256[:12]}...)" in told
    told = refused(f"{method}:student={made}", other)
    assert f"no {method} student of this teacher ({other.sha256[:12]}...) is in" in told
    assert told.endswith(f"(there are students of tiny ({teacher.sha256[:12]}...))")


def test_the_methods_are_told_apart(made, teacher, teacher_card):
    told = refused(f"consistency:student={made / 'progressive-1.json'}", teacher)
    assert f"is a student of method progressive; write progressive:student={made / 'progressive-1.json'}" in told
    assert "of method consistency;" in refused(f"consistency_training:student={made / 'consistency.json'}", teacher)
    assert "is the card of a teacher, not of a student" in refused(f"progressive:student={teacher_card}", teacher)


def test_options_that_are_none(made):
    with pytest.raises(UserError, match="unknown grid 'karas'; did you mean 'karras'"):
        samplers.get(f"consistency:student={made}:grid=karas")
    with pytest.raises(UserError, match="unknown option of progressive 'grid'"):
        samplers.get("progressive:grid=karras")


@pytest.mark.parametrize(("wanted", "given"), [("balanced", None), ("none", LABELS)])
@pytest.mark.parametrize("method", METHODS)
def test_labels_are_those_the_student_knows(folder, teacher, method, wanted, given):
    spec = rewrite(folder / ("progressive-1.json" if method == "progressive" else f"{method}.json"), labels=wanted)
    told = "with class labels; give them" if given is None else "without class labels; give none"
    assert f"was trained {told}" in refused(spec, teacher, labels=given)
    good = None if wanted == "none" else LABELS
    assert samplers.get(spec).sample(teacher, start_of(teacher), steps=1, labels=good).shape == (3, 1, 8, 8)


def test_a_student_of_any_labels(folder, teacher):
    sampler, z = samplers.get(rewrite(folder / "consistency.json", labels="any")), start_of(teacher)
    with_labels, without = (sampler.sample(teacher, z, steps=1, labels=n) for n in (LABELS, None))
    assert relative(with_labels, without) > 1e-3
    assert torch.equal(without, sampler.sample(teacher, z, steps=1, labels=torch.tensor([-1, -1, -1])))


@pytest.mark.parametrize(
    ("change", "told"),
    [({"steps": 2}, "the card says steps 2, its weights are of 4"), ({"method": "consistency", "steps": None}, "says method")],
)
def test_a_card_edited_against_its_weights(folder, teacher, change, told):
    assert told in refused(rewrite(folder / "progressive-4.json", **change), teacher, steps=2)


@pytest.mark.parametrize(
    "key", ["weights", "sha256", "network", "parameterisation", "sigma_min", "sigma_max", "labels", "name"]
)
def test_a_card_without_a_key_says_which(folder, teacher, key):
    card = folder / "consistency.json"
    told = refused(rewrite(card, **{key: None}), teacher)
    assert key in told.removeprefix(str(card))


@pytest.mark.parametrize("hashed", [False, True])
def test_truncated_weights(folder, teacher, hashed):
    """Told by the hash, or, where the card has that of the truncated file, by the file itself."""
    path = folder / "consistency.safetensors"
    path.write_bytes(path.read_bytes()[:-11])
    spec = rewrite(folder / "consistency.json", **({"sha256": sha256(path)} if hashed else {}))
    assert ("not a whole safetensors file" if hashed else "SHA-256 is") in refused(spec, teacher)
    path.unlink()
    assert "no weights at" in refused(spec, teacher)


def test_a_pickle_in_place_of_weights(folder, teacher):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was read",))

    path = folder / "progressive-1.safetensors"
    path.write_bytes(pickle.dumps(Trap()))
    assert "not a whole safetensors file" in refused(rewrite(folder / "progressive-1.json", sha256=sha256(path)), teacher)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_diverged(folder, teacher, value):
    path = folder / "progressive-1.safetensors"
    tensors, info = load_tensors(path)
    tensors["conv_out.bias"][0] = value
    spec = rewrite(folder / "progressive-1.json", sha256=save_tensors(path, tensors, info))
    assert "NaN or infinite numbers in 'conv_out.bias'" in refused(spec, teacher)


def test_weights_of_another_network(folder, teacher):
    network = make_teacher().network.config.values()
    assert refused(rewrite(folder / "consistency.json", network=network | {"width": 16}), teacher)
    bigger = rewrite(folder / "progressive-1.json", network=network | {"image_size": 16})
    assert "the student makes images of (1, 16, 16), the teacher of (1, 8, 8)" in refused(bigger, teacher)


@pytest.mark.parametrize("change", [{"network": make_teacher().network.config.values() | {"image_size": 16}}, {"labels": None}])
def test_a_student_refused_is_not_used_for_the_one_before(folder, teacher, change):
    """After a student that loads but is refused, the one prepared before it still samples."""
    rewrite(folder / "progressive-2.json", **change)
    sampler, z = samplers.get(f"progressive:student={folder}"), start_of(teacher)
    image = sampler.sample(teacher, z, steps=1, labels=LABELS)
    with pytest.raises(UserError):
        sampler.sample(teacher, z, steps=2, labels=LABELS)
    assert torch.equal(sampler.sample(teacher, z, steps=1, labels=LABELS), image)
    assert sampler.student.name == "progressive-1"


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_broken_card_in_the_folder(folder, teacher, text):
    (folder / "a.json").write_text(text)
    assert "a.json" in refused(f"progressive:student={folder}", teacher)


def test_a_student_trains_without_its_teacher_s_dropout():
    teacher = make_teacher()
    teacher.network = UNet(changed(teacher.network.config, dropout=0.5))
    student = as_teacher(teacher, teacher.network.state_dict())
    assert {m.p for m in student.modules() if isinstance(m, torch.nn.Dropout)} == {0.0}
    assert card_of(teacher, 0.0)["network"]["dropout"] == 0.0
