"""`bench train progressive` end to end: the ladder, its cards, what it costs, killed and resumed, and another in its folder."""

import json
import math
import shutil
import signal
import textwrap
from pathlib import Path

import pytest
import torch
from processes import difference, exit_code, in_two_processes, start
from small import OPTIMISATION, TOGETHER, progressive, write_images, write_recipe

import samplers
from samplers import UserError
from samplers.distilled import progressive_training
from samplers.distilled.loading import load_student
from samplers.distilled.losses import METRICS
from samplers.distilled.progressive import WEIGHTS, levels, two_step_target
from samplers.files import sha256
from samplers.models.weights import load_tensors
from samplers.models.zoo import find_card
from samplers.training import trainer

RUNGS = (4, 2, 1)
UPDATES = {4: (4, 4), 2: (4, 4), 1: (5, 3)}  # and images in each


def train(folder: Path, data: Path, section: dict, out: str = "out") -> dict:
    """Trains; returns what ladder.json says."""
    recipe = write_recipe(folder / "recipe.yaml", progressive=section)
    path = progressive_training.Ladder.train(recipe, data, folder / out, quiet=True)
    assert path == folder / out / "ladder.json"
    return json.loads(path.read_text())


def card_of(out: Path, steps: int) -> dict:
    return json.loads((out / f"ladder-{steps}.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory, teacher_card, data) -> Path:
    """The folder of an unbroken ladder."""
    folder = tmp_path_factory.mktemp("whole")
    train(folder, data, progressive(teacher_card))
    return folder / "out"


def copied(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "out")


def test_ladder_tells_of_every_rung(whole, teacher):
    told = json.loads((whole / "ladder.json").read_text())
    assert told["teacher"] == {"name": "tiny", "sha256": teacher.sha256, "steps": 8}
    assert [(r["name"], r["steps"]) for r in told["rungs"]] == [(f"ladder-{n}", n) for n in RUNGS]
    parent = told["teacher"]
    for row in told["rungs"]:
        assert row["parent"] == parent
        assert row["sha256"] == sha256(whole / f"ladder-{row['steps']}.safetensors")
        assert row["images"] == UPDATES[row["steps"]][0] * UPDATES[row["steps"]][1]
        assert row["device"]
        assert row["seconds"] >= 0
        parent = {"name": row["name"], "sha256": row["sha256"], "steps": row["steps"]}
    assert told["rungs"][0]["step_error"] == told["rungs"][0]["error@0"]  # its teacher is the ladder's


def test_costs_are_of_the_ladder_down_to_the_rung(whole):
    """A student's forward and two of its teacher's an image."""
    seen = 0
    for n, row in zip(RUNGS, json.loads((whole / "ladder.json").read_text())["rungs"], strict=True):
        seen += UPDATES[n][0] * UPDATES[n][1]
        cost = card_of(whole, n)["cost"]
        assert (cost["student_forwards"], cost["teacher_forwards"]) == (seen, 2 * seen)
        assert cost == row["cost"]
    seconds = [card_of(whole, n)["training"]["seconds"] for n in RUNGS]
    assert card_of(whole, 1)["cost"]["seconds"] == sum(seconds)


@pytest.mark.parametrize("steps", RUNGS)
def test_cards_say_what_was_trained(whole, teacher, teacher_card, steps):
    card, section = card_of(whole, steps), progressive(teacher_card)
    assert (card["kind"], card["method"], card["steps"], card["labels"]) == ("student", "progressive", steps, "balanced")
    assert card["teacher"] == {"name": "tiny", "sha256": teacher.sha256}  # of the whole ladder: what a sampler looks for
    assert card["network"] == teacher.network.config.values()
    assert (card["parameterisation"], card["sigma_min"], card["sigma_max"]) == ("v", 0.002, 80.0)
    assert card["parameters"] == sum(p.numel() for p in teacher.parameters())
    assert card["noise_seeds"] == []
    told = card["recipe"]["progressive"]
    assert {k: v for k, v in told.items() if k not in ("optimisation", "rungs")}.items() <= section.items()
    assert (told["optimisation"]["steps"], told["optimisation"]["batch"]) == UPDATES[steps]
    assert [row["step"] for row in card["training"]["curve"]][-1] == UPDATES[steps][0]
    assert card["training"]["curve"][-1].keys() >= {"loss", "error@0", "step_error"}


@pytest.mark.parametrize("steps", RUNGS)
def test_errors_are_against_its_teacher_and_the_first(whole, teacher, steps):
    """Relative RMSE of N steps of the averaged weights on the held-out noises; kept in half precision by the card."""
    z, labels, ddim = samplers.noise(77, range(5), teacher.shape), torch.arange(5) % 5, samplers.get("ddim")
    above = teacher if steps == 4 else load_student(find_card("student", whole / f"ladder-{2 * steps}.json"))
    student = load_student(find_card("student", whole / f"ladder-{steps}.json"))
    mine, its, top = (
        ddim.sample(model, z, steps=n, labels=labels) for model, n in ((student, steps), (above, 2 * steps), (teacher, 8))
    )
    told = card_of(whole, steps)["training"]["validation"]
    assert told["step_error"] == pytest.approx(float((mine - its).norm() / its.norm()), rel=0.02)
    assert told["error@0"] == pytest.approx(float((mine - top).norm() / top.norm()), rel=0.02)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_first_loss_is_the_formula(tmp_path, teacher_card, teacher, data, monkeypatch, weights, metric):
    """Each student starts as its teacher, the rung above: the mean of weight(s) (D(x_s, s) - target)^2, s of its own levels."""
    seen = []

    def spy(model, x, s, m, u, labels):
        target = two_step_target(model, x, s, m, u, labels)
        seen.append((model, x, s, m, u, labels, target))
        return target

    monkeypatch.setattr(progressive_training, "two_step_target", spy)
    o = OPTIMISATION | {"steps": 1, "batch": 32}
    section = progressive(
        teacher_card, start=8, end=2, weights=weights, metric=metric, rungs={}, optimisation=o, label_dropout=0.5
    )
    train(tmp_path, data, section)
    above = teacher
    for n, (model, x, s, m, u, labels, target) in zip((4, 2), seen, strict=True):
        known = torch.stack(levels(teacher.schedule, torch.arange(1, n + 1), n), dim=1)
        step = (known[:, 0] - s[:, None]).abs().argmin(dim=1)
        assert torch.equal(torch.stack([s, m, u], dim=1), known[step])
        assert set(step.tolist()) == set(range(n))
        assert set(labels.tolist()) == {-1, 0, 1, 2, 3, 4}
        assert float(x[step == n - 1].std()) == pytest.approx(80, rel=0.2)
        predicted = above(x, s.float(), labels)
        assert torch.equal(predicted, model(x, s.float(), labels))
        squares = (predicted - target).square().sum(dim=(1, 2, 3)).double()
        weight = (s**-2).clamp(min=1) if weights == "truncated_snr" else s**-2 + 1
        c = 0.00054 * math.sqrt(64)
        expected = weight * squares / 64 if metric == "l2" else (weight * squares + c * c).sqrt() - c
        row = json.loads((tmp_path / "out" / f"{n}" / "log.jsonl").read_text().splitlines()[0])
        assert row["loss"] == pytest.approx(float(expected.mean()), rel=1e-4)
        assert card_of(tmp_path / "out", n)["labels"] == "any"
        above = load_student(find_card("student", tmp_path / "out" / f"ladder-{n}.json"))


def test_a_rung_learns_its_teachers_two_steps(tmp_path, teacher_card, data):
    """Trained on, its step error falls."""
    o = OPTIMISATION | {"steps": 32, "learning_rate": 5e-3, "validate_every": 2, "checkpoint_seconds": 1e9}
    train(tmp_path, data, progressive(teacher_card, start=2, rungs={}, optimisation=o))
    curve = [row["step_error"] for row in card_of(tmp_path / "out", 1)["training"]["curve"]]
    assert curve[-1] < 0.6 * curve[0]


# Killed and resumed


class Interrupted:
    """A function, until its call number `at` (from 0)."""

    def __init__(self, function, at):
        self.function, self.at, self.calls = function, at, 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        if self.calls - 1 == self.at:
            raise KeyboardInterrupt
        return self.function(*args, **kwargs)


def assert_same_ladder(out: Path, whole: Path) -> None:
    """Bit for bit, but for the seconds."""
    for n in RUNGS:
        assert sha256(out / f"ladder-{n}.safetensors") == sha256(whole / f"ladder-{n}.safetensors")
        a, b = (load_tensors(f / f"{n}" / "checkpoint.safetensors")[0] for f in (out, whole))
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)
    a, b = (json.loads((f / "ladder.json").read_text()) for f in (out, whole))
    for row in (*a["rungs"], *b["rungs"]):
        del row["seconds"], row["cost"]["seconds"]
    assert a == b


@pytest.mark.parametrize(
    ("name", "at", "done", "updates_left"),
    [
        ("two_step_target", 6, [4], 2 + 5),  # in the middle of the second rung
        ("two_step_target", 4, [4], 4 + 5),  # between rungs
        ("write_zoo", 1, [4], 0 + 5),  # the second rung trained, its card not written
        ("write_json", 1, [4, 2], 5),  # its card written, ladder.json not
    ],
)
def test_a_killed_ladder_goes_on_bit_for_bit(whole, teacher_card, data, tmp_path, monkeypatch, name, at, done, updates_left):
    with monkeypatch.context() as m:
        module = trainer if name == "write_zoo" else progressive_training
        m.setattr(module, name, Interrupted(getattr(module, name), at))
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, data, progressive(teacher_card))
    assert [n for n in RUNGS if (tmp_path / "out" / f"ladder-{n}.json").exists()] == done
    counted = Interrupted(two_step_target, -1)
    monkeypatch.setattr(progressive_training, "two_step_target", counted)
    train(tmp_path, data, progressive(teacher_card))
    assert counted.calls == updates_left
    assert_same_ladder(tmp_path / "out", whole)


def test_kill_9_loses_no_more_than_an_update(whole, teacher_card, data, tmp_path, monkeypatch):
    recipe = write_recipe(tmp_path / "recipe.yaml", progressive=progressive(teacher_card))
    program = textwrap.dedent(f"""
        import os, pathlib
        from samplers.distilled import progressive_training as p
        left, target = [7], p.two_step_target
        def killed(*args):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), {int(signal.SIGKILL)})
            return target(*args)
        p.two_step_target = killed
        p.Ladder.train({str(recipe)!r}, pathlib.Path({str(data)!r}), pathlib.Path({str(tmp_path / "out")!r}), quiet=True)
    """)
    assert exit_code(start(program, tmp_path)) == -signal.SIGKILL
    counted = Interrupted(two_step_target, -1)
    monkeypatch.setattr(progressive_training, "two_step_target", counted)
    train(tmp_path, data, progressive(teacher_card))
    assert counted.calls == 2 + 5
    assert_same_ladder(tmp_path / "out", whole)


def test_a_finished_ladder_is_not_trained_again(whole, teacher_card, data, tmp_path, monkeypatch):
    out = copied(whole, tmp_path)
    for name in ("fit", "write_zoo"):
        monkeypatch.setattr(trainer, name, lambda *_, **__: pytest.fail("trained again"))
    (out / "ladder.json").unlink()
    assert train(tmp_path, data, progressive(teacher_card)) == json.loads((whole / "ladder.json").read_text())


def test_the_last_rung_is_trained_from_the_files_above_it(whole, teacher_card, data, tmp_path):
    out = copied(whole, tmp_path)
    (out / "ladder-1.json").unlink()
    shutil.rmtree(out / "1")
    train(tmp_path, data, progressive(teacher_card))
    assert_same_ladder(out, whole)


# What is refused


def refused(folder: Path, data: Path, section: dict) -> str:
    with pytest.raises(UserError) as e:
        train(folder, data, section)
    assert "\n" not in str(e.value)
    return str(e.value)


@pytest.mark.parametrize(("missing", "below"), [([2], 1), ([4], 2), ([4, 2], 1)])
def test_a_rung_missing_in_the_middle_is_named(whole, teacher_card, data, tmp_path, missing, below):
    out = copied(whole, tmp_path)
    for n in missing:
        (out / f"ladder-{n}.json").unlink()
    told = refused(tmp_path, data, progressive(teacher_card))
    assert f"lacks the student of {missing[0]} steps, though that of {below} is there; put ladder-{missing[0]}.json" in told
    assert (out / "ladder-1.json").exists()


def test_a_rung_without_its_weights(whole, teacher_card, data, tmp_path):
    """Needed where the next one down is still to be trained, and only there: a ladder may travel without those above."""
    out = copied(whole, tmp_path)
    before = (out / "ladder-1.safetensors").read_bytes()
    (out / "ladder-1.json").unlink()
    (out / "ladder-2.safetensors").rename(tmp_path / "aside")
    assert "no weights at" in refused(tmp_path, data, progressive(teacher_card))
    (tmp_path / "aside").rename(out / "ladder-2.safetensors")
    (out / "ladder-4.safetensors").unlink()
    (out / "ladder-1.safetensors").unlink()
    train(tmp_path, data, progressive(teacher_card))
    assert (out / "ladder-1.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"weights": "snr_plus_1"}, "ladder-4.json"),
        ({"optimisation": OPTIMISATION | {"seed": 1}}, "ladder-4.json"),
        ({"rungs": {1: {"steps": 6, "batch": 3}}}, "ladder-1.json"),  # the rungs above it are the same
    ],
)
def test_another_recipe_in_the_folder(whole, teacher_card, data, tmp_path, change, named):
    out = copied(whole, tmp_path)
    before = {p: sha256(p) for p in out.glob("*.safetensors")}
    told = refused(tmp_path, data, progressive(teacher_card, **change))
    assert "is of another training; choose another --out" in told
    assert named in told
    assert {p: sha256(p) for p in out.glob("*.safetensors")} == before


def test_other_images_in_the_folder(whole, teacher_card, tmp_path):
    copied(whole, tmp_path)
    write_images(tmp_path / "images", count=11)
    assert "ladder-4.json is of another training" in refused(tmp_path, tmp_path, progressive(teacher_card))


def test_another_recipe_in_a_rung_that_was_killed(whole, teacher_card, data, tmp_path):
    """Its checkpoint is refused as a card is."""
    (copied(whole, tmp_path) / "ladder-1.json").unlink()
    told = refused(tmp_path, data, progressive(teacher_card, rungs={1: {"steps": 6, "batch": 3}}))
    assert "checkpoint.safetensors is of another training (recipe differ" in told


def test_two_processes_climb_the_same_ladder(whole, teacher_card, data, tmp_path):
    """With equal gradients, and one process writes what both read."""
    recipe = write_recipe(tmp_path / "recipe.yaml", progressive=progressive(teacher_card, rungs={1: {"steps": 5, "batch": 4}}))
    in_two_processes(TOGETHER + f"Ladder.train({str(recipe)!r}, Path({str(data)!r}), Path('two'), quiet=True)", tmp_path)
    rows = json.loads((tmp_path / "two" / "ladder.json").read_text())["rungs"]
    assert [r["steps"] for r in rows] == list(RUNGS)
    assert difference(whole / "4", tmp_path / "two" / "4") < 1e-2
