"""Cards that say what no card says: each is told in one line, or does no harm; every key of a teacher's and of students'."""

import json
import math

import pytest
import small
import tiny
import torch

import samplers
from dsno.network import DSNOConfig
from samplers import UserError, load_teacher

JUNK = {
    "null": None,
    "true": True,
    "negative": -1,
    "zero": 0,
    "fraction": 1.5,
    "huge": 10**30,
    "nan": math.nan,
    "infinity": math.inf,
    "empty": "",
    "lines": "a\nb\r\nc",
    "path": "../../etc/passwd",
    "absolute": "/etc/passwd",
    "null byte": "a\0b",
    "megabytes": "x" * 10**6,
    "list": [],
    "lists": [[1, [2]], {}],
    "object": {},
    "nested": {"a": {"b": [{}]}},
}
FILES = ["kind", "name", "weights", "sha256", "network", "sigma_min", "sigma_max", "training", "data_sha256"]
TOLD = ["method", "teacher", "labels", "noise_seeds", "cost", "steps", "parameters"]
HARMLESS = {
    "name": ("path", "absolute"),
    "data_sha256": ("path", "absolute", "null"),
    "sigma_min": ("fraction",),
    "sigma_max": ("fraction",),
    "training": ("object", "nested"),
    "cost": ("null", "object"),
    "noise_seeds": ("list", "negative", "zero", "huge"),
    "parameters": ("null", "zero", "huge"),
}
"""What may stand there, or is of no use to anybody."""


def told(run) -> str | None:
    """The refusal, None if there is none; anything but a `UserError` of one line fails."""
    try:
        run()
    except UserError as e:
        message = str(e)
    else:
        return None
    assert "\n" not in message
    assert len(message) < 1000
    return message


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What is to be forged, each in a folder of its own: (sampler or None, its card, its teacher)."""
    teachers = [(of, of.write_teacher(tmp_path_factory.mktemp("teacher"))) for of in (small, tiny)]
    (_, own), (_, other) = ((of, load_teacher(card)) for of, card in teachers)
    return {
        "teacher": (None, teachers[0][1], None),
        "consistency": ("consistency", small.write_student(tmp_path_factory.mktemp("student"), own, "consistency"), own),
        "dsno": ("dsno", tiny.write_student(tmp_path_factory.mktemp("student"), other, DSNOConfig()), other),
    }


def use(name, card, teacher):
    """Load what a card is of, and make an image with a student."""
    if name is None:
        load_teacher(card).describe()
    else:
        z, labels = samplers.noise(0, range(2), teacher.shape), torch.zeros(2, dtype=torch.int64)
        samplers.get(f"{name}:student={card}").sample(teacher, z, steps=1, labels=labels)


def forge(card, *keys, value):
    """A card beside this one that has a value in the place of a key."""
    content = json.loads(card.read_text())
    section = content
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    forged = card.with_name("forged.json")
    forged.write_text(json.dumps(content))
    return forged


KEYS = {
    "teacher": [*FILES, "parameterisation"],
    "consistency": [*FILES, "parameterisation", *TOLD],
    "dsno": [*FILES, "operator", *TOLD],
}


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize(("kind", "key"), [(kind, key) for kind, keys in KEYS.items() for key in keys])
def test_every_key(made, kind, key, junk):
    name, card, teacher = made[kind]
    forged = forge(card, key, value=JUNK[junk])
    refused = told(lambda: use(name, forged, teacher))
    harmless = junk in HARMLESS.get(key, ()) or (kind, key) == ("dsno", "method")
    assert (refused is None) == harmless, refused
    assert refused is None or key in refused or "forged" in refused


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("key", small.make_teacher().network.config.values())
def test_sizes_of_a_network(made, key, junk):
    """What is taken for a size makes a network whose shapes are those of the weights, and that works; or none."""
    forged = forge(made["teacher"][1], "network", key, value=JUNK[junk])
    refused = told(lambda: load_teacher(forged)(torch.zeros(1, 1, 8, 8), 1.0))
    assert refused is None or str(forged.parent) in refused


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("key", ["points", "grid", "modes"])
def test_sizes_of_an_operator(made, key, junk):
    name, card, teacher = made["dsno"]
    forged = forge(card, "operator", key, value=JUNK[junk])
    assert told(lambda: use(name, forged, teacher)) is not None


@pytest.mark.parametrize("curve", [[{"step": "one"}], [{"step": math.nan}], {"step": 1}, [[1]], "curve"])
@pytest.mark.parametrize("kind", KEYS)
def test_a_learning_curve(made, kind, curve):
    name, card, teacher = made[kind]
    forged = forge(card, "training", value={"seconds": 3, "curve": curve})
    assert "curve" in told(lambda: use(name, forged, teacher))


@pytest.mark.parametrize("text", ["[" * 10**5, "1" * 5000, '{"kind": "teacher"', "\ud83d", '{"a": NaN}', "{} {}"])
def test_what_is_no_json(tmp_path, text):
    (tmp_path / "x.json").write_text(text, errors="surrogatepass")
    assert "x.json" in told(lambda: load_teacher(tmp_path / "x.json"))


def test_a_card_s_name_of_megabytes():
    assert told(lambda: load_teacher("x" * 10**7 + ".json")) is not None
    assert told(lambda: load_teacher("x" * 10**7)) is not None
