"""The reader of pickles: what a file of EDM's holds comes back, and nothing that any file names is run."""

import io
import os
import pickle
import sys

import numpy as np
import pickled
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from samplers import UserError
from samplers.models.foreign import pickles
from samplers.models.foreign.pickles import Record, read_pickle


def refused(path, told=""):
    with pytest.raises(UserError, match=told) as e:
        read_pickle(path)
    assert "\n" not in str(e.value)
    assert str(path) in str(e.value)


def calls(function, *args):
    """An object whose pickle calls a function."""
    return type("Call", (), {"__reduce__": lambda self: (function, args)})()


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_what_a_file_of_edm_holds(tmp_path, protocol):
    linear = nn.Linear(3, 2)
    half = torch.randn(4, 3).half().t()
    content = pickled.EasyDict(
        ema=pickled.persistent(nn.ModuleDict({"a": linear, "b": nn.ModuleDict()})),
        kind=pickled.Persistent("Loss", {"sigma_data": np.float64(0.5), "shape": (3, [1, 2])}, "1 / 0"),
        tensors=[half, half, torch.arange(6)[2:4], torch.zeros(0, 3), torch.tensor(7.0)],
        arrays=(np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3))),
        empty=np.zeros((0, 2), np.float32),
        words={"a", "b"},
    )
    found = read_pickle(pickled.dump(tmp_path / "x.pkl", content, protocol))
    module = found["ema"].state["_modules"]["a"]
    assert (found["ema"].name, module.name, found["kind"].name) == ("ModuleDict", "Linear", "Loss")
    assert torch.equal(module.state["_parameters"]["weight"], linear.weight)
    assert found["kind"].state == {"sigma_data": 0.5, "shape": (3, [1, 2])}
    for own, original in zip(found["tensors"], content["tensors"], strict=True):
        assert own.dtype == original.dtype
        assert torch.equal(own, original)
    for own, original in zip((*found["arrays"], found["empty"]), (*content["arrays"], content["empty"]), strict=True):
        assert own.dtype == original.dtype
        np.testing.assert_array_equal(own, original)
    assert found["words"] == {"a", "b"}


def test_the_source_of_a_persistent_object_is_not_run(tmp_path):
    canary = tmp_path / "canary"
    source = f"open({str(canary)!r}, 'w').close()"
    path = pickled.dump(tmp_path / "x.pkl", {"ema": pickled.Persistent("Net", {"a": 1}, source)})
    found = read_pickle(path)["ema"]
    assert isinstance(found, Record)
    assert (found.name, found.state) == ("Net", {"a": 1})
    assert source not in map(str, vars(found).values())
    assert not canary.exists()
    with pytest.MonkeyPatch.context() as m:
        for name, module in pickled.IMITATED.items():
            m.setitem(sys.modules, name, module)
        pickle.loads(path.read_bytes())
    assert canary.exists(), "or the test shows nothing"


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (os.system, ("touch CANARY",)),
        (open, ("CANARY", "w")),
        (eval, ("open('CANARY', 'w')",)),
        (exec, ("open('CANARY', 'w')",)),
        (getattr, ("os", "system")),
        (os.mkdir, ("CANARY",)),
        (torch.load, ("CANARY",)),
        (np.load, ("CANARY",)),
        (__import__, ("antigravity",)),
    ],
)
def test_code_is_refused_by_its_name(tmp_path, monkeypatch, function, args):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"ema": calls(function, *args)}))
    refused(tmp_path / "x.pkl", f"asks for '[a-z._]*{function.__name__}', which may be code, and nothing of it was run")
    assert [p.name for p in tmp_path.iterdir()] == ["x.pkl"]


def test_code_inside_a_storage_is_refused(tmp_path, monkeypatch):
    """A storage is a whole file of torch.save inside the pickle."""
    monkeypatch.chdir(tmp_path)
    for new in (True, False):
        inner = io.BytesIO()
        torch.save({"a": calls(os.mkdir, "canary")}, inner, _use_new_zipfile_serialization=new)
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(calls(torch.storage._load_from_bytes, inner.getvalue())))
        refused(tmp_path / "x.pkl", "no pickle that can be read .*fetch it again")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}, "a"], object),
        np.zeros(2, [("a", "O")]),
        np.zeros(2, [("a", "f4")]),
        np.array(["a"]),
        np.zeros(2, "M8[s]"),
        np.zeros(2, "V8"),
    ],
)
def test_arrays_of_other_things_than_numbers(tmp_path, array):
    for content in [array, array[0]][: 1 if array.dtype == object else 2]:
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(content))
        refused(tmp_path / "x.pkl", "no pickle that can be read|may be code")


def test_a_type_with_forged_fields(tmp_path):
    """Numbers whose type says afterwards that they are pointers."""

    class Forged:
        def __reduce__(self):
            return np.dtype, ("f8", False, True), (3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 8, 0)

    (tmp_path / "x.pkl").write_bytes(pickle.dumps(Forged()))
    refused(tmp_path / "x.pkl", "no pickle that can be read")


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (5,), (1,)),
        (1, (4,), (1,)),
        (0, (2, 2), (1, 3)),
        (-1, (2,), (1,)),
        (0, (-2,), (1,)),
        (0, (2,), ()),
        (0, (2.0,), (1,)),
    ],
)
def test_a_tensor_beyond_its_storage(tmp_path, offset, size, stride):
    storage = torch.arange(4.0).untyped_storage()
    typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
    content = calls(torch._utils._rebuild_tensor_v2, typed, offset, size, stride, False, {})
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content))
    refused(tmp_path / "x.pkl", "no pickle that can be read .ValueError")


def test_other_files(tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "new.pt")
    torch.save({"a": torch.zeros(2)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    refused(tmp_path / "new.pt", "is a file of torch.save")
    refused(tmp_path / "gone.pkl", "No such file")
    refused(tmp_path, "cannot read")
    with pytest.raises(UserError, match=r"cannot read .*null"):
        read_pickle(tmp_path / "a\0b")


@given(st.binary(max_size=200))
def test_any_bytes_are_values_or_a_refusal(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.pkl"
    path.write_bytes(content)
    told = ""
    try:
        read_pickle(path)
    except UserError as e:
        told = str(e)
    assert "\n" not in told


@given(cut=st.integers(0, 2000), flip=st.integers(0, 2000), bit=st.integers(0, 255))
def test_a_damaged_file_is_a_value_or_a_refusal(tmp_path_factory, cut, flip, bit):
    path = tmp_path_factory.getbasetemp() / "damaged.pkl"
    whole = bytearray(pickled.dump(path, {"ema": pickled.persistent(nn.Linear(3, 2)), "a": np.arange(3)}).read_bytes())
    whole[flip % len(whole)] ^= bit
    path.write_bytes(whole[: len(whole) - cut % len(whole)])
    told = ""
    try:
        read_pickle(path)
    except UserError as e:
        told = str(e)
    assert "\n" not in told


def test_every_name_that_is_known_is_no_code():
    """Stand-ins of our own, but for a set."""
    assert [f for f in pickles.KNOWN.values() if f.__module__ != pickles.__name__] == [set]
