"""The teacher kind `diffusers:PATH_OR_HUB_ID`: which family a model is of, by the class of its network."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from samplers.errors import UserError, unknown
from samplers.models.diffusers import dit, flows, stable_diffusion, unet
from samplers.models.diffusers.networks import class_of
from samplers.models.diffusers.source import Source, find
from samplers.models.teacher import Teacher
from samplers.spec import Spec

Family = Callable[[Source, Mapping[str, str]], Teacher]
FAMILIES: dict[str, tuple[Family, tuple[str, ...]]] = {
    "UNet2DModel": (unet.load, ("null",)),
    "DiTTransformer2DModel": (dit.load, ("embedding",)),
    stable_diffusion.NETWORK: (stable_diffusion.load, ("size",)),
    "SD3Transformer2DModel": (flows.load, ("size",)),
    "FluxTransformer2DModel": (flows.load, ("size", "embedded")),
}
"""Class of the network -> (its loader, the options that it takes)."""
PARTS = ("unet", "transformer")


def load(rest: str, device: torch.device | str) -> Teacher:
    """A model of diffusers: a folder that `save_pretrained` wrote, or the id of a repository of the hub.

    Args:
        rest: PATH_OR_HUB_ID, or PATH_OR_HUB_ID:OPTION=VALUE.
        device: of the networks.

    Raises:
        UserError: a model that is not there, or cannot be used; names the field and the fix.
    """
    name, options = (rest, {}) if rest and Path(rest).is_dir() else _parsed(rest)
    source = find(name)
    part = next((p for p in PARTS if p in source.index or (source.root / p).is_dir()), "unet")
    kind = class_of(source.settings(part))
    source.read.clear()
    if kind not in FAMILIES:
        raise unknown(f"class of the {part}", kind, FAMILIES)
    family, known = FAMILIES[kind]
    for key in options:
        if key not in known:
            raise unknown(f"option of a {kind}", key, known)
    return family(source, options).to(device).eval().requires_grad_(False)


def _parsed(rest: str) -> tuple[str, dict[str, str]]:
    if not rest:
        raise UserError("diffusers: names no model; write diffusers:FOLDER, or diffusers:OWNER/NAME of the hub")
    spec = Spec.parse(rest)
    if spec.steps is not None:
        raise UserError(f"diffusers:{spec}: @{spec.steps} says nothing of a model; leave it out")
    return spec.name, dict(spec.options)
