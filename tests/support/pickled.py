"""Pickles laid out as EDM's and EDM2's, of networks with random weights: `torch_utils.persistence` and `dnnlib` imitated."""

import pickle
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

PERSISTENCE, UTIL = types.ModuleType("torch_utils.persistence"), types.ModuleType("dnnlib.util")


def _reconstruct_persistent_obj(meta: Mapping[str, Any]) -> Any:
    """As the original: the source is run."""
    module = types.ModuleType("imported")
    exec(meta["module_src"], module.__dict__)
    return meta


class EasyDict(dict):
    pass


for module, content in ((PERSISTENCE, _reconstruct_persistent_obj), (UTIL, EasyDict)):
    content.__module__ = module.__name__
    setattr(module, content.__name__, content)
IMITATED = {
    "torch_utils": types.ModuleType("torch_utils"),
    "torch_utils.persistence": PERSISTENCE,
    "dnnlib": types.ModuleType("dnnlib"),
    "dnnlib.util": UTIL,
}


class Persistent:
    """An object that is pickled with its source, as `persistent_class` does."""

    def __init__(self, name: str, state: dict[str, Any], source: str = ""):
        self.name, self.state, self.source = name, state, source

    def __reduce__(self) -> tuple:
        meta = {"type": "class", "version": 6, "module_src": self.source, "class_name": self.name, "state": self.state}
        return _reconstruct_persistent_obj, (EasyDict(meta),), None


def persistent(module: nn.Module, name: str = "", source: str = "", **state: Any) -> Any:
    """A module as a persistent object, those inside it too; torch's dictionaries of modules stay themselves."""
    inner = {k: persistent(m, source=source) for k, m in module._modules.items() if m is not None}
    if isinstance(module, nn.ModuleDict):
        plain = nn.ModuleDict()
        plain.__dict__["_modules"] = inner
        return plain
    own = {
        "training": False,
        "_parameters": dict(module._parameters),
        "_buffers": dict(module._buffers),
        "_non_persistent_buffers_set": set(),
        "_modules": inner,
    }
    return Persistent(name or type(module).__name__, own | state, source)


def wrapped(network: nn.Module, name: str, outer: str, arguments: dict[str, Any], source: str = "", **state: Any) -> Persistent:
    """A network inside its preconditioning."""
    inner = persistent(network, name, source, _init_args=(), _init_kwargs=arguments)
    modules = {"unet" if outer == "Precond" else "model": inner}
    full = {"training": False, "_parameters": {}, "_buffers": {}, "_non_persistent_buffers_set": set(), "_modules": modules}
    return Persistent(outer, full | state, source)


def dump(path: Path, content: Any, protocol: int = 4) -> Path:
    """Write a pickle that names the originals' modules."""
    before = {k: sys.modules.get(k) for k in IMITATED}
    sys.modules.update(IMITATED)
    try:
        path.write_bytes(pickle.dumps(content, protocol))
    finally:
        for k, module in before.items():
            if module is None:
                del sys.modules[k]
            else:
                sys.modules[k] = module
    return path


def shaken(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network with random weights everywhere, its convolutions' outputs of about unit size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in network.parameters():
            values = torch.randn(p.shape, generator=generator)
            p.copy_(values / p[0].numel() ** 0.5 if p.ndim > 1 else 0.1 * values if p.ndim else 1 + 0 * values)
        for module in network.modules():
            if isinstance(module, nn.GroupNorm):
                module.weight.add_(1)
        for name, b in network.named_buffers():
            if "resample_filter" not in name:
                b.copy_(torch.randn(b.shape, generator=generator))
    return network.eval().requires_grad_(False)
