"""Transformers of rectified flows told a text: Stable Diffusion 3 (Esser et al., arXiv 2403.03206) and Flux.

Such transformers agree neither on the time that they are told nor on the sign of what they give, and no field tells it; so each
is known by its class, and no other.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samplers.errors import UserError, one_line
from samplers.models.diffusers.latents import Decoder
from samplers.models.diffusers.networks import load_network
from samplers.models.diffusers.process import Process, process_of
from samplers.models.diffusers.source import Source
from samplers.models.diffusers.text import TextTeacher, latents_of

EMBEDDED = 3.5
"""Weight of guidance that a network distilled with it is told, Flux's pipeline's own."""
SIDE = 128
"""Of latents, where the config tells none: Flux's pipeline's own, images of 1024 pixels."""


class StableDiffusion3(TextTeacher):
    """Told the states of two CLIP encoders and T5's, which may be missing, and what the first two make of the whole text."""

    pipeline = "StableDiffusion3Pipeline"

    def encode(self, pipe: Any, texts: list[str]) -> dict[str, Tensor]:
        states, _, pooled, _ = pipe.encode_prompt(texts, None, None, do_classifier_free_guidance=False)
        return {"encoder_hidden_states": states, "pooled_projections": pooled}

    def evaluate(self, z: Tensor, time: Tensor, told: Mapping[str, Any]) -> Tensor:
        return self.network(hidden_states=z, timestep=time, return_dict=False, **told)[0]


class Flux(TextTeacher):
    """Told the states of T5, what CLIP makes of the whole text, places, and a weight where it was distilled with guidance.

    Its tokens are squares of 2 x 2 places of the latents.
    """

    pipeline, fold = "FluxPipeline", 2
    places: Tensor

    def __init__(self, source: Source, network: nn.Module, process: Process, size: tuple[int, int], decoder: Decoder):
        super().__init__(source, network, process, size, decoder)
        height, width = (n // self.fold for n in size)
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        places = torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).flatten(0, 1).float()  # [H W / 4, 3]
        self.register_buffer("places", places, persistent=False)
        self.embedded: float | None = None

    def encode(self, pipe: Any, texts: list[str]) -> dict[str, Tensor]:
        states, pooled, _ = pipe.encode_prompt(texts)
        return {"encoder_hidden_states": states, "pooled_projections": pooled}

    def evaluate(self, z: Tensor, time: Tensor, told: Mapping[str, Any]) -> Tensor:
        weight = None if self.embedded is None else torch.full_like(time, self.embedded)
        out = self.network(
            hidden_states=F.pixel_unshuffle(z, self.fold).flatten(2).transpose(1, 2),  # [B, H W / 4, 4 C]
            timestep=time,
            guidance=weight,
            txt_ids=self.places.new_zeros(told["encoder_hidden_states"].shape[1], 3),
            img_ids=self.places,
            return_dict=False,
            **told,
        )[0]
        sides = [n // self.fold for n in z.shape[2:]]
        return F.pixel_shuffle(out.transpose(1, 2).unflatten(2, sides), self.fold)


TRANSFORMERS: dict[str, tuple[type[TextTeacher], Callable[[Any], Any]]] = {
    "SD3Transformer2DModel": (StableDiffusion3, lambda t: 1000 * t),
    "FluxTransformer2DModel": (Flux, lambda t: t),
}
"""Class -> what it is, and the time that it is told of t. Both give eps - x0, the sign of `samplers.models.scaling.flow`."""


def load(source: Source, options: Mapping[str, str]) -> TextTeacher:
    """A transformer of `TRANSFORMERS`. Of the options, embedded=W is the weight that one distilled with guidance is told.

    Raises:
        UserError: what cannot be used; names the field.
    """
    network, config = load_network(source, "transformer", TRANSFORMERS)
    kind, time = TRANSFORMERS[type(network).__name__]
    process = process_of(source.settings("scheduler", "scheduler_config.json"), time)
    if process.scaling.name != "flow":
        raise UserError(f"{source.name}: the scheduler is of no flow, as the transformer is; save it with FlowMatchEuler's")
    size, decoder = latents_of(source, getattr(config, "sample_size", SIDE), options)
    if any(n % kind.fold for n in size):
        raise UserError(f"{source.name}: its latents go in squares of {kind.fold}; give a size=HxW of even numbers of latents")
    weight = embedded(source, options, bool(getattr(config, "guidance_embeds", False)))
    teacher = kind(source, network, process, size, decoder)
    if isinstance(teacher, Flux) and weight is not None:
        teacher.embedded = weight
        teacher.card["note"] = f"distilled with guidance, told the weight {weight:g}"
    return teacher


def embedded(source: Source, options: Mapping[str, str], takes: bool) -> float | None:
    """The option embedded=W, `EMBEDDED` where it is not given; None of a network that takes no weight.

    Raises:
        UserError: no weight, or one for a network that takes none.
    """
    told = options.get("embedded")
    if not takes:
        if told is not None:
            raise UserError(f"embedded=: {source.name} was not distilled with guidance, so is told no weight; leave it out")
        return None
    try:
        weight = EMBEDDED if told is None else float(told)
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= 1000:
        raise UserError(f"embedded={one_line(told, 40)}: write a weight of guidance from 0 to 1000, as 3.5")
    source.told.append(f"embedded={weight:g}")
    return weight
