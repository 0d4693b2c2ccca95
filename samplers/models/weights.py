"""Weights on disk: safetensors only, verified by SHA-256, checked for NaN; nothing is ever unpickled."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from samplers.errors import UserError, one_line
from samplers.files import sha256, write_whole


def save_tensors(path: Path, tensors: Mapping[str, Tensor], info: Mapping | None = None) -> str:
    """Write tensors (and a small JSON `info`) as safetensors, whole or not at all; returns the file's SHA-256."""
    ready = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    content = save(ready, {"info": json.dumps(info or {})})
    write_whole(path, content)
    return hashlib.sha256(content).hexdigest()


def load_tensors(path: Path, expected_sha256: str | None = None) -> tuple[dict[str, Tensor], dict]:
    """Read what `save_tensors` wrote: (tensors, info).

    Raises:
        UserError: missing, not safetensors (a pickle, a truncated download), another hash than expected, or NaN inside.
    """
    if not path.is_file():
        raise UserError(f"no weights at {path}; fetch the file or train it with 'bench train'")
    if expected_sha256 is not None and (found := sha256(path)) != expected_sha256:
        raise UserError(f"{path}: SHA-256 is {found[:12]}..., the card says {expected_sha256[:12]}...; fetch the file again")
    try:
        with safe_open(path, framework="pt") as f:
            tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 (not a dict)
            info = json.loads((f.metadata() or {}).get("info", "{}"))
        if not isinstance(info, dict):
            raise ValueError("its info is no JSON object")
    except (SafetensorError, ValueError, OSError, RecursionError) as e:
        said = f"{path} is not a whole safetensors file ({one_line(e)}); fetch it again (pickles are not read)"
        raise UserError(said) from e
    check_finite(tensors, path)
    return tensors, info


def check_finite(tensors: Mapping[str, Tensor], where: str | Path) -> None:
    """Refuse weights that are not numbers.

    Raises:
        UserError: NaN or infinity in one of them.
    """
    bad = [k for k, v in tensors.items() if v.is_floating_point() and not torch.isfinite(v).all()]
    if bad:
        raise UserError(f"{where}: NaN or infinite numbers in '{bad[0]}'; the training that made it diverged")


def fill(network: nn.Module, tensors: Mapping[str, Tensor], where: str | Path) -> None:
    """Copy tensors into a network of the same names and shapes, in the network's dtype.

    One that was made on the meta device gets the tensors themselves.

    Raises:
        UserError: a name missing or extra, or a shape that differs.
    """
    own = network.state_dict()
    if missing := sorted(own.keys() ^ tensors.keys()):
        raise UserError(f"{where}: weights are of another network ('{missing[0]}' is in one only); check the card's sizes")
    for name, tensor in tensors.items():
        if own[name].shape != tensor.shape:
            raise UserError(f"{where}: '{name}' is {list(tensor.shape)}, the network needs {list(own[name].shape)}")
    network.load_state_dict(dict(tensors), assign=any(t.is_meta for t in own.values()))
