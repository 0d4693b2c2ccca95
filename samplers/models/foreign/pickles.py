"""Pickles of tensors, read without running anything that they name.

A pickle is a program: it names functions and has them called. This reader knows a few names, those by which EDM's and EDM2's
files hold tensors, arrays and modules, and gives each a stand-in of its own; at any other name it stops. A module that
`torch_utils.persistence` wrote carries its source, which the original reader executes: here it becomes a `Record`.
"""

import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from samplers.errors import UserError, foreign, one_line


class Record:
    """An object of a pickle: what its class was called, and its attributes; neither is looked up anywhere."""

    name: str
    state: dict[Any, Any]

    def __new__(cls, name: str = "", state: Any = None) -> "Record":
        self = super().__new__(cls)
        self.name = name or cls.__name__
        self.__setstate__(state)
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}


class ModuleDict(Record):
    """torch's own, which comes without its source."""


class ModuleList(Record):
    """Likewise."""


class Sequential(Record):
    """Likewise."""


class Plain(dict):
    """A dictionary of another class; attributes besides its keys are dropped."""

    def __setstate__(self, state: Any) -> None:
        pass


class Dtype:
    """A numpy type of plain numbers: others could hold pointers."""

    def __init__(self, name: Any, *_: Any):
        if not isinstance(name, str) or not re.fullmatch(r"[?bBhHiIlLqQefd]|b1|[iu][1248]|f[248]", name):
            raise ValueError(f"an array of {one_line(name, 40)}, not of numbers")
        self.kind = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        _, order, *fields = state
        if order not in "<>=|" or any(fields[:3]):
            raise ValueError("an array of other things than numbers")
        self.kind = self.kind.newbyteorder(order)


class Array:
    """A numpy array before its content is known."""

    def __init__(self, *_: Any):
        self.value: np.ndarray = np.zeros(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, columns, content = state
        self.value = _array(content, kind, shape, "F" if columns else "C")


TORCH = "{} is a file of torch.save, not a plain pickle; a network of guided-diffusion's is adm:FILE.pt, OpenAI's cm:FILE.pt"


def read_pickle(path: Path) -> Any:
    """What a pickle holds, of numbers, words, tensors, arrays, plain containers and `Record`s.

    Raises:
        UserError: it cannot be read, or names anything else; says what.
    """
    try:
        with open(path, "rb") as f, foreign(f"{path} is no pickle that can be read", "fetch it again"):
            if f.read(2) == b"PK":
                raise UserError(TORCH.format(path))
            f.seek(0)
            return _whole(_Reader(f, path).load(), {})
    except (OSError, ValueError) as e:  # ValueError: a name that no file can have
        said = getattr(e, "strerror", None) or e
        raise UserError(f"cannot read {one_line(path)}: {said}; name the checkpoint's file") from e


class _Reader(pickle.Unpickler):
    def __init__(self, file: Any, path: Path):
        super().__init__(file)
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module.replace('numpy._core', 'numpy.core')}.{name}"
        if full not in KNOWN:
            raise UserError(
                f"{self.path}: the pickle asks for '{one_line(f'{module}.{name}', 80)}', which may be code, and nothing of it "
                "was run; bring its state dict as safetensors"
            )
        return KNOWN[full]

    def persistent_load(self, pid: Any) -> Any:
        raise UserError(TORCH.format(self.path))


def _record(meta: Any) -> Record:
    if not isinstance(meta, dict) or not isinstance(meta.get("class_name"), str):
        raise ValueError("a module without a class")
    return Record(meta["class_name"], meta.get("state"))


def _storage(content: Any) -> Any:
    """A storage, which is a whole file of torch.save inside the pickle."""
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    if not isinstance(storage, torch.storage.TypedStorage):
        raise ValueError("a tensor without a storage")
    flat = torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage)
    numbers = [offset, *size, *stride]
    if len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError("a tensor whose shape is none")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if 0 not in size and last >= flat.numel():
        raise ValueError("a tensor beyond its storage")
    return flat.as_strided(size, stride, offset)


def _parameter(tensor: Any, *_: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise ValueError("a parameter that is no tensor")
    return tensor


def _array(content: Any, kind: Any, shape: Any, order: Any = "C") -> np.ndarray:
    if not isinstance(kind, Dtype) or order not in ("C", "F"):
        raise ValueError("an array without a type")
    return np.frombuffer(content, kind.kind).reshape(shape, order=order)


def _number(kind: Any, content: Any) -> Any:
    return _array(content, kind, ()).item()


KNOWN: dict[str, Callable[..., Any]] = {
    "torch_utils.persistence._reconstruct_persistent_obj": _record,
    "torch.storage._load_from_bytes": _storage,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.nn.modules.container.ModuleDict": ModuleDict,
    "torch.nn.modules.container.ModuleList": ModuleList,
    "torch.nn.modules.container.Sequential": Sequential,
    "collections.OrderedDict": Plain,
    "dnnlib.util.EasyDict": Plain,
    "builtins.set": set,
    "numpy.core.multiarray._reconstruct": Array,
    "numpy.core.multiarray.scalar": _number,
    "numpy.core.numeric._frombuffer": _array,
    "numpy.ndarray": Array,
    "numpy.dtype": Dtype,
}
"""What a pickle may name, and what stands for it."""


def _whole(value: Any, seen: dict[int, tuple[Any, Any]]) -> Any:
    """The value with arrays in the places of their stand-ins; what stands twice is walked once."""
    if id(value) in seen:
        return seen[id(value)][1]
    seen[id(value)] = value, value.value if isinstance(value, Array) else value  # kept, so that no other gets its id
    if isinstance(value, Record):
        _whole(value.state, seen)
    elif isinstance(value, dict):
        value.update({k: _whole(v, seen) for k, v in value.items()})
    elif isinstance(value, list):
        value[:] = [_whole(v, seen) for v in value]
    elif isinstance(value, tuple):
        seen[id(value)] = value, tuple(_whole(v, seen) for v in value)
    return seen[id(value)][1]
