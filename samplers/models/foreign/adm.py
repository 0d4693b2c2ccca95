"""State dicts of guided-diffusion, `adm:FILE.pt`, and of OpenAI's consistency models, `cm:FILE.pt`.

Such a file holds tensors alone. Their names and shapes tell the U-Net but for a few settings, which are those of the published
network of the same widths, or stand in FILE.yaml beside FILE.pt for a network of one's own.
"""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from samplers.documents import read_document
from samplers.errors import UserError, foreign, one_line
from samplers.files import sha256
from samplers.models.foreign.preconditioning import DDPM, EDM, Consistency, Preconditioning
from samplers.models.foreign.sizes import ADMSizes
from samplers.models.foreign.teacher import Checkpoint, CheckpointTeacher, teacher_of
from samplers.settings import Settings


class Flags(Settings):
    """What the tensors do not tell, by guided-diffusion's flags; FILE.yaml beside FILE.pt."""

    image_size: int = Field(ge=1, le=8192, description="height and width of the images")
    num_heads: int = Field(0, ge=0, le=1024, description="attention heads; 0: one for each num_head_channels")
    num_head_channels: int = Field(64, ge=1, le=65536)
    use_new_attention_order: bool = False
    noise_schedule: Literal["linear", "cosine"] = "linear"
    diffusion_steps: int = Field(1000, ge=2, le=100_000)


PUBLISHED = {
    (192, (1, 2, 3, 4)): Flags(image_size=64, use_new_attention_order=True, noise_schedule="cosine"),
    (256, (1, 1, 2, 3, 4)): Flags(image_size=128, num_heads=4),
    (256, (1, 1, 2, 2, 4, 4)): Flags(image_size=256),
    (256, (0.5, 1, 1, 2, 2, 4, 4)): Flags(image_size=512),
}
"""(width, multipliers) of the networks that guided-diffusion published -> the flags of each."""
MAKERS = {"edm": EDM(time_factor=250.0), "cd": Consistency(), "ct": Consistency()}
"""How a file of consistency_models begins -> what its network is: EDM's teacher, or a consistency model."""


def load_adm(spec: str, device: torch.device | str) -> CheckpointTeacher:
    """guided-diffusion's state dict, `adm:FILE.pt`; the variance that it learned is not used.

    Raises:
        UserError: a file that is no state dict of such a network, or whose settings neither are published nor stand beside it.
    """
    return teacher_of(read_adm(Path(spec)), device)


def load_cm(spec: str, device: torch.device | str) -> CheckpointTeacher:
    """A state dict of OpenAI's consistency_models, `cm:FILE.pt`, named as published: edm_... (the teacher), cd_... or ct_...

    Raises:
        UserError: as `load_adm`, and for another name.
    """
    return teacher_of(read_cm(Path(spec)), device)


def read_adm(path: Path) -> Checkpoint:
    """As `load_adm`, not yet a teacher."""
    tensors = _state_dict(path)
    flags = _flags(path, tensors)
    return _checkpoint(path, tensors, flags, DDPM(betas=flags.noise_schedule, steps=flags.diffusion_steps))


def read_cm(path: Path) -> Checkpoint:
    """As `load_cm`, not yet a teacher."""
    made = MAKERS.get(path.stem.partition("_")[0])
    if made is None:
        raise UserError(
            f"cm:{one_line(path)}: what the network is stands in its name; call the file {', '.join(MAKERS)}_....pt"
        )
    tensors = _state_dict(path)
    flags = _flags(path, tensors).model_copy(update={"use_new_attention_order": True})  # flash attention's, in all of them
    return _checkpoint(path, tensors, flags, made)


def _state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name.

    Raises:
        UserError: not a file of torch.save that holds only that.
    """
    if not path.is_file():
        raise UserError(f"no checkpoint at {one_line(path)}; name the .pt file")
    fix = "nothing of it was run: fetch the .pt again, or name a pickle of EDM's as edm:FILE.pkl"
    with foreign(f"{path} is no state dict", fix), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a pickle's protocol
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as e:  # whose advice is to run it
            raise UserError(f"{path} is no state dict (more than tensors, or damaged); {fix}") from e
    if not isinstance(found, dict) or not found or not all(isinstance(v, Tensor) for v in found.values()):
        raise UserError(f"{path} holds more than tensors by name; save the network's own state dict, which is all that is read")
    return {str(k).removeprefix("module."): v for k, v in found.items()}


def _flags(path: Path, tensors: Mapping[str, Tensor]) -> Flags:
    """Of the file beside it, else of the published network of the same widths."""
    beside = path.with_suffix(".yaml")
    if beside.is_file():
        return Flags.of(read_document(beside, "network's flags"))
    width, multipliers = _shape(path, tensors, "time_embed.0.weight")[1], _levels(path, tensors)[0]
    key = width, tuple(m / width for m in multipliers)
    if key not in PUBLISHED:
        raise UserError(
            f"{path}: {width} channels by {', '.join(f'{m:g}' for m in key[1])} are of no published network; write its "
            f"flags into {beside.name} beside it: {', '.join(Flags.model_fields)}"
        )
    return PUBLISHED[key]


def _checkpoint(path: Path, tensors: dict[str, Tensor], flags: Flags, preconditioning: Preconditioning) -> Checkpoint:
    width = _shape(path, tensors, "time_embed.0.weight")[1]
    widths, blocks, attending = _levels(path, tensors)
    film = _shape(path, tensors, "input_blocks.1.0.emb_layers.1.weight")[0]
    sizes = ADMSizes(
        channels=_shape(path, tensors, "input_blocks.0.0.weight")[1],
        outputs=_shape(path, tensors, "out.2.weight")[0],
        image_size=flags.image_size,
        classes=tensors["label_emb.weight"].shape[0] if "label_emb.weight" in tensors else 0,
        width=width,
        multipliers=tuple(w / width for w in widths),
        blocks=blocks,
        attention=tuple(flags.image_size >> level for level in attending),
        heads=flags.num_heads,
        head_width=flags.num_head_channels,
        legacy_order=not flags.use_new_attention_order,
        film=film == 2 * _shape(path, tensors, "input_blocks.1.0.out_layers.3.weight")[0],
        residual_resampling=not any(".op." in k for k in tensors),
    )
    # consistency_models has two-dimensional convolutions of one pixel where guided-diffusion has one-dimensional ones
    flat = {k: v[..., 0] if v.ndim == 4 and re.search(r"\.(qkv|proj_out)\.weight$", k) else v for k, v in tensors.items()}
    return Checkpoint(path.stem, sha256(path), str(path), "ADMUNet", sizes, preconditioning, flat)


def _levels(path: Path, tensors: Mapping[str, Tensor]) -> tuple[list[int], int, list[int]]:
    """(channels of each level, residual blocks a level, levels with attention).

    A block that halves the resolution has the names of any other; one that doubles it stands second or third in its place.
    """
    doubling = {m[1] for k in tensors if (m := re.match(r"output_blocks\.(\d+)\.[12]\.(in_layers|conv)\.", k))}
    count, levels = len({k.split(".")[1] for k in tensors if k.startswith("output_blocks.")}), len(doubling) + 1
    if not count or count % levels:
        raise UserError(f"{path} holds no U-Net of guided-diffusion's or consistency_models'; name a checkpoint of one")
    first = [1 + level * (count // levels) for level in range(levels)]
    widths = [_shape(path, tensors, f"input_blocks.{n}.0.out_layers.3.weight")[0] for n in first]
    attending = [level for level, n in enumerate(first) if f"input_blocks.{n}.1.qkv.weight" in tensors]
    return widths, count // levels - 1, attending


def _shape(path: Path, tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    found = tensors.get(name)
    if found is None or found.ndim < 2:
        raise UserError(
            f"{path} lacks '{name}', so is no U-Net of guided-diffusion's or consistency_models'; name one of those"
        )
    return tuple(found.shape)
