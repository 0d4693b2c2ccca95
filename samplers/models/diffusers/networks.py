"""Networks of diffusers from a folder: a class of a given list, settings that it lists, weights that fill it and no more."""

import inspect
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from samplers.errors import UserError, foreign, one_line, unknown
from samplers.models.diffusers.source import Source, library

EXTRA = "'sampler-bench[diffusers]'"


def class_of(told: Mapping[str, Any]) -> Any:
    """The class that a config.json names; of a DiT saved before it had a class of its own, as the published ones are, that."""
    name = told.get("_class_name")
    old = name == "Transformer2DModel" and told.get("norm_type") == "ada_norm_zero"
    return "DiTTransformer2DModel" if old else name


def load_network(source: Source, part: str, classes: Collection[str]) -> tuple[nn.Module, Any]:
    """A part of a model, float32, from its weights, and its settings; the classes are those that it may be of.

    Raises:
        UserError: a class that is not known, settings that it does not list, weights that lack, or that it has no place for.
    """
    told = source.settings(part)
    name = class_of(told)
    if name not in classes:
        raise unknown(f"class of the {part}", name, classes)
    kind = getattr(library("diffusers", EXTRA), str(name))
    listed = inspect.signature(kind.__init__).parameters
    # One that is off changes nothing: files of other versions name what they do not use.
    if odd := sorted(k for k, v in told.items() if not k.startswith("_") and k not in listed and v not in (None, False)):
        raise UserError(
            f"{part}: {name} has no setting '{one_line(odd[0], 60)}', so it would not be the network of this file; "
            "update diffusers, or bring it as python:MODULE:FUNCTION"
        )
    folder = source.weights(part)
    safe = any(p.parent == folder and p.suffix == ".safetensors" for p in source.read)
    network = _read(kind, folder, part, safe)
    return network, network.config


def _read(kind: Any, folder: Path, part: str, safe: bool) -> Any:
    told = {"local_files_only": True, "torch_dtype": torch.float32, "low_cpu_mem_usage": False, "use_safetensors": safe}
    failed = f"the {part} in {one_line(folder)} cannot be read", "save it again with save_pretrained"
    with foreign(*failed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a pickle's protocol
        network, found = kind.from_pretrained(str(folder), **told, output_loading_info=True)
    for key, what in (("missing_keys", "lack"), ("unexpected_keys", "have no place for"), ("mismatched_keys", "do not fit at")):
        if wrong := sorted(map(str, found[key])):
            raise UserError(f"the {part}'s weights in {one_line(folder)} {what} '{one_line(wrong[0], 80)}'; fetch them again")
    return network
