"""Stable Diffusion 1 and 2 (Rombach et al., arXiv 2112.10752) and SDXL (arXiv 2307.01952): U-Nets of latents told a text."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from samplers.errors import UserError, clipped
from samplers.models.diffusers.latents import Decoder
from samplers.models.diffusers.networks import load_network
from samplers.models.diffusers.process import Process, process_of
from samplers.models.diffusers.source import Source
from samplers.models.diffusers.text import TextTeacher, latents_of

NETWORK = "UNet2DConditionModel"
UNKNOWN = ("class_embed_type", "num_class_embeds", "encoder_hid_dim_type", "time_cond_proj_dim")
"""Fields of conditions that none of the two has: other models, or students (of an LCM) that are told a guidance weight."""


class StableDiffusion(TextTeacher):
    """Told the states of one text encoder."""

    pipeline = "StableDiffusionPipeline"
    settings: Mapping[str, Any] = {"requires_safety_checker": False}

    def encode(self, pipe: Any, texts: list[str]) -> dict[str, Tensor]:
        return {"encoder_hidden_states": pipe.encode_prompt(texts, pipe.text_encoder.device, 1, False)[0]}


class StableDiffusionXL(TextTeacher):
    """Told the states of two text encoders, what the second makes of the whole text, and sizes: of images not cropped.

    No prompt is zeros where the pipeline's `force_zeros_for_empty_prompt` says so, as it does unless it was changed.
    """

    pipeline = "StableDiffusionXLPipeline"
    sizes: Tensor

    def __init__(self, source: Source, network: nn.Module, process: Process, size: tuple[int, int], decoder: Decoder):
        super().__init__(source, network, process, size, decoder)
        zeros = bool(source.index.get("force_zeros_for_empty_prompt", True))
        self.settings = {"add_watermarker": False, "force_zeros_for_empty_prompt": zeros}
        height, width = (decoder.times * n for n in size)
        sizes = torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32)  # original, corner, wanted
        self.register_buffer("sizes", sizes, persistent=False)

    def encode(self, pipe: Any, texts: list[str]) -> dict[str, Tensor]:
        states, _, pooled, _ = pipe.encode_prompt(texts, do_classifier_free_guidance=False)
        return {"encoder_hidden_states": states, "text_embeds": pooled}

    def none(self, pipe: Any) -> dict[str, Tensor]:
        found = super().none(pipe)
        zeros = self.settings["force_zeros_for_empty_prompt"]
        return {key: torch.zeros_like(row) if zeros else row for key, row in found.items()}

    def told(self, labels: Tensor | None, x: Tensor) -> dict[str, Any]:
        told = super().told(labels, x)
        more = {"text_embeds": told.pop("text_embeds"), "time_ids": self.sizes.expand(len(x), -1)}
        return told | {"added_cond_kwargs": more}


KINDS: dict[str | None, type[TextTeacher]] = {None: StableDiffusion, "text_time": StableDiffusionXL}
"""`addition_embed_type` -> what it is."""


def load(source: Source, options: Mapping[str, str]) -> TextTeacher:
    """A `UNet2DConditionModel` with the text encoders of Stable Diffusion 1, 2 or XL.

    Raises:
        UserError: what cannot be used; names the field.
    """
    told = source.settings("unet")
    odd = [key for key in UNKNOWN if told.get(key) is not None]
    if told.get("addition_embed_type") not in KINDS:
        odd.append("addition_embed_type")
    if odd:
        raise UserError(
            f"{source.name}: {odd[0]} {clipped(told[odd[0]])} is of no Stable Diffusion 1, 2 or XL; bring it as python:"
        )
    process = process_of(source.settings("scheduler", "scheduler_config.json"))
    network, config = load_network(source, "unet", {NETWORK})
    size, decoder = latents_of(source, config.sample_size, options)
    return KINDS[config.addition_embed_type](source, network, process, size, decoder)
