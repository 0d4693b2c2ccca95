"""EDM's and EDM2's pickles: `edm:FILE.pkl`.

The pickle is read by names alone (`foreign.pickles`); what its network is stands in the arguments of its constructor, which the
original keeps beside the tensors, and what its output means in the attributes of the object around it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samplers.documents import Document
from samplers.errors import UserError, clipped, unknown
from samplers.files import sha256
from samplers.models.foreign.pickles import Record, read_pickle
from samplers.models.foreign.preconditioning import EDM, IDDPM, VE, VP, Preconditioning
from samplers.models.foreign.sizes import Sizes
from samplers.models.foreign.teacher import ARCHITECTURES, Checkpoint, CheckpointTeacher, teacher_of

SHARED = {"model_channels": "width", "channel_mult": "multipliers", "num_blocks": "blocks", "attn_resolutions": "attention"}
SHARED |= {"img_resolution": "image_size", "label_dim": "classes"}
NETWORKS: dict[str, tuple[str, tuple[str, ...], dict[str, str], dict[str, Any]]] = {
    "SongUNet": (
        "SongUNet",
        ("img_resolution", "in_channels", "out_channels"),
        {
            **SHARED,
            "augment_dim": "augmentation",
            "channel_mult_emb": "embedding_multiplier",
            "channel_mult_noise": "time_multiplier",
            "embedding_type": "time",
            "resample_filter": "kernel",
        },
        {"width": 128, "multipliers": [1, 2, 2, 2], "blocks": 4, "attention": [16]},
    ),
    "DhariwalUNet": (
        "DhariwalUNet",
        ("img_resolution", "in_channels", "out_channels"),
        {**SHARED, "augment_dim": "augmentation", "channel_mult_emb": "embedding_multiplier"},
        {"width": 192, "multipliers": [1, 2, 3, 4], "blocks": 3, "attention": [32, 16, 8]},
    ),
    "UNet": (
        "EDM2UNet",
        ("img_resolution", "img_channels", "label_dim"),
        {
            **SHARED,
            "channels_per_head": "head_width",
            "clip_act": "clip",
            "res_balance": "residual_balance",
            "attn_balance": "attention_balance",
            "label_balance": "label_balance",
            "concat_balance": "concat_balance",
        },
        {"width": 192, "multipliers": [1, 2, 3, 4], "blocks": 3, "attention": [16, 8]},
    ),
}
"""Class in the pickle -> (architecture, the constructor's first arguments, those that are sizes, defaults)."""
IDLE = ("dropout", "label_dropout", "in_channels", "out_channels", "img_channels", "encoder_type", "decoder_type")
"""Arguments that are no size by themselves."""


def load(spec: str, device: torch.device | str) -> CheckpointTeacher:
    """EDM's or EDM2's pickle, `edm:FILE.pkl`; nothing that it holds is executed.

    Raises:
        UserError: a file that cannot be read, that names anything but tensors and modules, or whose network is not known.
    """
    return teacher_of(read(Path(spec)), device)


def read(path: Path) -> Checkpoint:
    """What EDM's or EDM2's pickle holds of its averaged network.

    Raises:
        UserError: as `load`.
    """
    content = read_pickle(path)
    outer = content.get("ema") if isinstance(content, dict) else None
    if not isinstance(outer, Record):
        raise UserError(f"{path} holds no network 'ema', so is none of EDM's or EDM2's network files; name one")
    if outer.name not in PRECONDITIONINGS:
        raise UserError(f"{path}: {unknown('preconditioning', outer.name, PRECONDITIONINGS)}")
    modules = outer.state.get("_modules")
    inner = modules.get("unet" if outer.name == "Precond" else "model") if isinstance(modules, dict) else None
    if not isinstance(inner, Record) or inner.name not in NETWORKS or (inner.name == "UNet") != (outer.name == "Precond"):
        found = inner.name if isinstance(inner, Record) else "no network"
        raise UserError(f"{path}: {unknown(f'network inside {outer.name}', found, NETWORKS)}")
    told = Document(outer.state, f"{path}, {outer.name}")
    architecture, network = _sizes(inner, f"{path}, {inner.name}")
    preconditioning = PRECONDITIONINGS[outer.name](told)
    if network.outputs != network.channels * (2 if outer.name == "iDDPMPrecond" else 1):
        raise UserError(
            f"{path}: {outer.name} with {network.outputs} channels of {network.channels} is not known; fetch it again"
        )
    tensors = dict(_tensors(inner, ""))
    vae = _vae(content.get("encoder"))
    return Checkpoint(
        path.stem, sha256(path), str(path), architecture, network, preconditioning, tensors, vae
    )  # fmt: skip


def _sizes(network: Record, origin: str) -> tuple[str, Sizes]:
    architecture, first, names, values = NETWORKS[network.name]
    args, kwargs = network.state.get("_init_args", ()), network.state.get("_init_kwargs", {})
    if not isinstance(args, tuple | list) or not isinstance(kwargs, dict) or len(args) > len(first):
        raise UserError(f"{origin}: its constructor's arguments are not in the file; fetch it again")
    given = {**dict(zip(first, args, strict=False)), **kwargs}
    if extra := sorted(map(str, given.keys() - names.keys() - set(IDLE))):
        raise UserError(f"{origin}: {unknown('argument', extra[0], [*names, *IDLE])}")
    values = {"classes": 0, **values, **{names[k]: v for k, v in given.items() if k in names}}
    channels = given.get("in_channels", given.get("img_channels"))
    values |= {"channels": channels, "outputs": given.get("out_channels", channels)}
    if network.name == "UNet":
        for name, key in (("channel_mult_noise", "time_width"), ("channel_mult_emb", "embedding_width")):
            if given.get(name) is not None:
                values[key] = given[name] * values["width"]
    else:
        values["null_class"] = bool(given.get("label_dropout"))
    if network.name == "SongUNet":
        ways = given.get("encoder_type", "standard"), given.get("decoder_type", "standard")
        if ways not in (("standard", "standard"), ("residual", "standard")):
            raise UserError(f"{origin}: encoder and decoder {clipped(ways)} are not known; DDPM++ and NCSN++ are")
        values["residual_input"] = ways[0] == "residual"
    return architecture, ARCHITECTURES[architecture][0].of(Document(values, origin))


def _edm(told: Document) -> Preconditioning:
    """EDM's own, on the levels of its sampler, 0.002 to 80, or those of them that the network knows."""
    low, high = (_number(told, key, default) for key, default in (("sigma_min", 0.0), ("sigma_max", float("inf"))))
    low, high = max(low, 0.002), min(high, 80.0)
    return EDM(sigma_min=low, sigma_max=high, sigma_data=_number(told, "sigma_data", 0.5))


def _iddpm(told: Document) -> Preconditioning:
    found = IDDPM(c_1=_number(told, "C_1"), c_2=_number(told, "C_2"), steps=_whole(told, "M"))
    table = (told.values.get("_buffers") or {}).get("u")
    expected = torch.tensor(found.levels())
    if not isinstance(table, Tensor) or table.shape != expected.shape or not torch.allclose(table.float(), expected, rtol=1e-3):
        raise UserError(f"{told.origin}: its noise levels u are not those of C_1, C_2 and M; fetch it again")
    return found


PRECONDITIONINGS = {
    "EDMPrecond": _edm,
    "Precond": _edm,
    "VEPrecond": lambda told: VE(sigma_min=_number(told, "sigma_min"), sigma_max=_number(told, "sigma_max")),
    "VPPrecond": lambda told: VP(
        beta_d=_number(told, "beta_d"),
        beta_min=_number(told, "beta_min"),
        t_min=_number(told, "epsilon_t"),
        steps=_whole(told, "M"),
    ),
    "iDDPMPrecond": _iddpm,
}
"""Class in the pickle -> what its attributes say."""


def _number(told: Document, key: str, default: float | None = None) -> float:
    value = told.values.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{told.origin}: {key} is {clipped(value)}, no number; fetch it again")
    return float(value)


def _whole(told: Document, key: str) -> int:
    return int(_number(told, key))


def _vae(encoder: Any) -> str | None:
    """The VAE that an EDM2 pickle names; None of one of pixels."""
    if not isinstance(encoder, Record) or encoder.name == "StandardRGBEncoder":
        return None
    name = encoder.state.get("vae_name")
    return f"the VAE {name if isinstance(name, str) and name.isprintable() else encoder.name}"[:200]


def _tensors(module: Record, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """The state dict of a module: parameters, the buffers that are kept, and those of the modules in it."""
    state: Mapping[str, Any] = module.state
    passing = state.get("_non_persistent_buffers_set") or ()
    kept = {**(state.get("_parameters") or {}), **(state.get("_buffers") or {})}
    for name, tensor in kept.items():
        if isinstance(tensor, Tensor) and name not in passing:
            yield f"{prefix}{name}", tensor
    for name, inner in (state.get("_modules") or {}).items():
        if isinstance(inner, Record):
            yield from _tensors(inner, f"{prefix}{name}.")
