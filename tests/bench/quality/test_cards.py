"""An extractor's card and its reference, forged and damaged in every place: told in one line, or as good as before."""

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.quality.extractor import features_of, find_extractor, load_extractor
from bench.quality.reference import find_reference
from samplers.errors import UserError
from samplers.models.weights import load_tensors, save_tensors
from samplers.models.zoo import ZOO

HOSTILE = [
    None, True, 0, -1, 7, 10**9, 10**400, 0.5, 1e300, float("nan"), "", "7", "1.0e6", "a\nb", "../../etc/passwd", "\0",
    "x" * 10**7, [8] * 10**5, [], {}, [None], {"a": 1}, [[[[]]]], ["x"] * 4, [8, 8, 8, 10**9],
]  # fmt: skip


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The shipped extractor's files in a folder of one's own; the path of the card."""
    for name in ("mnist.json", "mnist.safetensors", "mnist_reference.safetensors"):
        shutil.copy(ZOO / name, tmp_path / name)
    return tmp_path / "mnist.json"


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Every key and position in a card."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed(card: dict, path: tuple, value: Any, *, remove: bool = False) -> dict:
    card = copy.deepcopy(card)
    at: Any = card
    for key in path[:-1]:
        at = at[key]
    if remove:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return card


def loads(path: Path) -> None:
    """Load an extractor and its reference and use it, or see that what is wrong is told in one line."""
    told = ""
    try:
        extractor = load_extractor(path)
        reference = find_reference(extractor)
    except UserError as e:
        told = str(e)
    if told:
        assert "\n" not in told
        assert len(told) < 600
        assert str(path.parent) in told
        return
    assert reference.moments.n == 60_000
    assert features_of(extractor, torch.zeros(2, 1, 32, 32, dtype=torch.uint8)).features.shape == (2, 64)


CARD = json.loads((ZOO / "mnist.json").read_text())


@pytest.mark.parametrize("place", list(places(CARD)), ids=lambda p: ".".join(map(str, p)))
def test_a_forged_value_anywhere_in_a_card_is_told_or_does_no_harm(copied, place):
    for value in HOSTILE:
        copied.write_text(json.dumps(changed(CARD, place, value)))
        loads(copied)
    copied.write_text(json.dumps(changed(CARD, place, None, remove=True)))
    loads(copied)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.clear(),
        lambda t: t.pop("mean"),
        lambda t: t.pop("cov"),
        lambda t: t.pop("n"),
        lambda t: t.pop("features"),
        lambda t: t.update(mean=t["mean"][:63]),
        lambda t: t.update(mean=t["mean"][None]),
        lambda t: t.update(mean=torch.tensor(1.0)),
        lambda t: t.update(cov=t["cov"][:63]),
        lambda t: t.update(cov=t["cov"].flatten()),
        lambda t: t.update(cov=t["cov"] + torch.randn(64, 64)),
        lambda t: t.update(cov=-t["cov"]),
        lambda t: t.update(cov=t["cov"].bool()),
        lambda t: t.update(cov=t["cov"] * torch.nan),
        lambda t: t.update(n=torch.tensor(1)),
        lambda t: t.update(n=torch.tensor(-5)),
        lambda t: t.update(n=torch.tensor(2.5)),
        lambda t: t.update(n=torch.tensor([60_000, 60_000])),
        lambda t: t.update(n=torch.tensor([])),
        lambda t: t.update(features=t["features"][:, :63]),
        lambda t: t.update(features=t["features"][:, 0]),
        lambda t: t.update(features=t["features"].bool()),
    ],
)
def test_a_forged_reference_is_told(copied, change):
    """With its hash on the card, so that the content alone tells."""
    path = copied.parent / "mnist_reference.safetensors"
    tensors, info = load_tensors(path)
    change(tensors)
    digest = save_tensors(path, tensors, info)
    copied.write_text(json.dumps(CARD | {"reference_sha256": digest}))
    with pytest.raises(UserError) as e:
        find_reference(load_extractor(copied))
    assert str(path) in str(e.value)
    assert "\n" not in str(e.value)


def test_the_extractor_of_the_teachers_data_is_found_beside_a_damaged_card(copied, monkeypatch, small_teacher):
    """A card without its data, or with another kind of value there, is no extractor for anybody's data."""
    monkeypatch.setattr("samplers.models.zoo._trained", [copied.parent])
    for value in ({"data_sha256": 7}, {"data_sha256": ["x"]}, {}):
        copied.with_name("aaa.json").write_text(json.dumps({k: v for k, v in CARD.items() if k != "data_sha256"} | value))
        monkeypatch.setattr(small_teacher, "data", CARD["data_sha256"])
        monkeypatch.setattr(small_teacher, "image_shape", (1, 32, 32))
        assert find_extractor(None, small_teacher).name == "mnist"
