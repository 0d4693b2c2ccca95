"""Weights on disk: what is written comes back, and whatever else is in the file is refused in one line."""

import pickle

import pytest
import torch
from torch import nn

from samplers import UserError
from samplers.files import sha256, write_whole
from samplers.models.weights import fill, load_tensors, save_tensors


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "w.safetensors"
    tensors = {"weight": torch.randn(3, 2), "bias": torch.zeros(3), "step": torch.tensor(7)}
    return path, tensors, save_tensors(path, tensors, {"step": 7, "last": {"loss": 0.5}})


def refused(path, match, **options):
    with pytest.raises(UserError, match=match) as e:
        load_tensors(path, **options)
    assert "\n" not in str(e.value)
    assert str(path) in str(e.value)


def test_round_trip(saved):
    path, tensors, digest = saved
    loaded, info = load_tensors(path, digest)
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[k], tensors[k]) for k in tensors)
    assert info == {"step": 7, "last": {"loss": 0.5}}
    assert digest == sha256(path)


def test_non_contiguous_tensors_are_saved_as_seen(tmp_path):
    tensor = torch.arange(48.0).reshape(1, 3, 4, 4).to(memory_format=torch.channels_last)
    save_tensors(tmp_path / "w.safetensors", {"a": tensor, "b": torch.arange(6.0).reshape(2, 3).T})
    loaded, _ = load_tensors(tmp_path / "w.safetensors")
    assert torch.equal(loaded["a"], tensor)
    assert torch.equal(loaded["b"], torch.arange(6.0).reshape(2, 3).T)


def test_missing_file(tmp_path):
    refused(tmp_path / "w.safetensors", "no weights at .*bench train")


@pytest.mark.parametrize("keep", [0, 4, 60, -5])
def test_truncated_file(saved, keep):
    path, _, _ = saved
    path.write_bytes(path.read_bytes()[:keep])
    refused(path, "not a whole safetensors file.*fetch it again")


def test_pickle_is_not_read(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was executed",))

    for name, content in (("raw", pickle.dumps(Bomb())), ("torch", None)):
        path = tmp_path / f"{name}.safetensors"
        if content is None:
            torch.save({"weight": Bomb()}, path)
        else:
            path.write_bytes(content)
        refused(path, "pickles are not read")


def test_wrong_hash(saved):
    path, _, _ = saved
    refused(path, "SHA-256 is .* the card says", expected_sha256="ab" * 32)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_not_finite(tmp_path, bad, dtype):
    path = tmp_path / "w.safetensors"
    save_tensors(path, {"fine": torch.zeros(2), "broken": torch.tensor([1.0, bad], dtype=dtype)})
    refused(path, "NaN or infinite numbers in 'broken'")


def test_fill_copies_in_the_networks_dtype():
    network = nn.Linear(2, 3)
    weights = {"weight": torch.randn(3, 2).half(), "bias": torch.randn(3).half()}
    fill(network, weights, "here")
    assert network.weight.dtype == torch.float32
    assert torch.equal(network.weight, weights["weight"].float())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda w: w.pop("bias"), "'bias' is in one only"),
        (lambda w: w.update(extra=torch.zeros(1)), "'extra' is in one only"),
        (lambda w: w.update(weight=torch.zeros(2, 3)), r"'weight' is \[2, 3\], the network needs \[3, 2\]"),
    ],
)
def test_weights_of_another_network(change, match):
    network, weights = nn.Linear(2, 3), {"weight": torch.zeros(3, 2), "bias": torch.zeros(3)}
    before = network.weight.clone()
    change(weights)
    with pytest.raises(UserError, match=match) as e:
        fill(network, weights, "w.safetensors")
    assert "\n" not in str(e.value)
    assert torch.equal(network.weight, before)


def test_write_is_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "file"
    write_whole(path, b"old")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("samplers.files.os.replace", full)
    with pytest.raises(UserError, match="No space left on device; free some space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_folder_that_cannot_be_made_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_whole(tmp_path / "file" / "x", b"")
