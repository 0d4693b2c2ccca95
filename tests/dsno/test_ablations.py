"""The ablations: variants of a recipe, the interval of a ratio of errors, and students trained once and compared."""

import json

import numpy as np
import pytest
import torch
import yaml
from tiny import learning, making, write_recipe

import dsno.ablations.training
import dsno.trajectory_making
import samplers
from dsno.ablations.training import Ablations, students, summary
from samplers import UserError
from samplers.documents import Document

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


def sections(recipe: dict) -> dict:
    return {name: dict(section.values) for name, section in students(Document(recipe, "recipe.yaml")).items()}


def test_variants_merge_section_by_section():
    before = json.dumps(SECTIONS)
    found = sections(SECTIONS)
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
    order = list(sections(SECTIONS))
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
        Ablations.check(Document({"dsno": learning("tiny"), "ablations": SECTIONS["ablations"] | change}, "recipe.yaml"))
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


def test_a_difference_of_the_stated_size_is_told_four_times_in_five():
    generator, seeds = np.random.default_rng(0), {"dsno": 8, "other": 8}

    def found(ratio: float) -> dict:
        return summary(*synthetic(generator, {"dsno": 1.0, "other": ratio}, seeds))[1]

    stated = float(np.mean([found(1.0)["tells"] for _ in range(100)]))
    told = [found(1 + stated)["verdict"] == "worse" for _ in range(400)]
    assert 0.73 < np.mean(told) < 0.87


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
    table = json.loads(Ablations.train(recipe, folder, tmp_path / "out", quiet=True).read_text())
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
    maker = dsno.trajectory_making.Maker(teacher, dsno.trajectory_making.TrajectoriesRecipe(**making(teacher_card, seed=78)))
    true = maker.solve(range(4))[0][:, -1]
    for row in table["students"]:
        name = row["student"]
        method = "knowledge_distillation" if row["points"] == 1 else "dsno"
        sampler = samplers.get(f"{method}:student={tmp_path / 'out' / name / name}.json")
        images = sampler.sample(teacher, z, steps=1, labels=labels)
        assert row["error"] == pytest.approx(float((images - true).norm() / true.norm()), rel=1e-4)
    monkeypatch.setattr(dsno.ablations.training, "DSNOTraining", lambda *_, **__: pytest.fail("trained again"))
    assert json.loads(Ablations.train(recipe, folder, tmp_path / "out", quiet=True).read_text()) == table
    changed = learning(teacher_card) | {"weights": "flat"}
    write_recipe(recipe, dsno=changed, ablations=yaml.safe_load(recipe.read_text())["ablations"])
    with pytest.raises(UserError, match="was trained by another recipe"):
        Ablations.train(recipe, folder, tmp_path / "out", quiet=True)
