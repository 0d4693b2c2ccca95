"""Networks that make images of texts, as teachers: prompts are encoded once, and are classes from then on."""

import hashlib
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from samplers.errors import UserError, foreign, one_line
from samplers.models.diffusers.encoders import pipeline_of
from samplers.models.diffusers.latents import Decoder, decoder_of
from samplers.models.diffusers.process import Process
from samplers.models.diffusers.source import Source
from samplers.models.diffusers.teacher import NetworkTeacher, size_of

BATCH = 16
"""Prompts encoded at once."""


class TextTeacher(NetworkTeacher):
    """A network of latents that is told a prompt: label k is the k-th of `prompt`, and -1 none.

    A subclass says whose `encode_prompt` is asked, with which `settings`, what it gives, and how the network is told.
    """

    pipeline: str
    """A class of diffusers."""
    settings: Mapping[str, Any] = {}

    def __init__(self, source: Source, network: nn.Module, process: Process, size: tuple[int, int], decoder: Decoder):
        super().__init__(source, network, process, size, 0, None, decoder)
        self.source, self.bare = source, self.sha256
        self.conditions: tuple[str, ...] = ()

    @abstractmethod
    def encode(self, pipe: Any, texts: list[str]) -> dict[str, Tensor]:
        """What a pipeline of the class makes of texts, a row each."""

    def none(self, pipe: Any) -> dict[str, Tensor]:
        """What the network is told of no prompt, in one row: the empty text."""
        return self.encode(pipe, [""])

    @torch.no_grad()
    def prompt(self, texts: Sequence[str]) -> None:
        if not texts and self.num_classes:
            return
        if not texts:
            raise UserError(f"teacher '{self.name}' makes images of texts; give --prompts FILE, a prompt a line, or one TEXT")
        device = next(self.network.parameters()).device
        source = replace(self.source, read=[], told=list(texts))
        pipe = pipeline_of(self.pipeline, source, self.network, device, **self.settings)
        with foreign(f"{self.name} cannot encode prompts", "check its text encoders against its network"):
            rows = [self.encode(pipe, list(texts[i : i + BATCH])) for i in range(0, len(texts), BATCH)]
            rows.append(self.none(pipe))
            for key in rows[-1]:
                self.register_buffer(key, torch.cat([r[key].float() for r in rows]), persistent=False)  # [K + 1, ...]
        self.conditions, self.num_classes = tuple(rows[-1]), len(texts)
        self.sha256 = hashlib.sha256(f"{self.bare} {source.sha256()}".encode()).hexdigest()
        self.card["prompts"] = len(texts)

    def told(self, labels: Tensor | None, x: Tensor) -> dict[str, Any]:
        rows = torch.full((len(x),), -1, device=x.device) if labels is None else labels
        rows = torch.where(rows < 0, self.num_classes, rows)
        return {key: self.get_buffer(key)[rows] for key in self.conditions}


def latents_of(source: Source, sample_size: object, options: Mapping[str, str]) -> tuple[tuple[int, int], Decoder]:
    """(H, W) of latents, and what decodes them; of the options, size=PIXELS or size=HxW of images, else the config's.

    Args:
        source: of the model.
        sample_size: of latents, of the network's config.
        options: of the teacher.

    Raises:
        UserError: no size, one that no latents have, or no decoder.
    """
    decoder = decoder_of(source)
    if decoder is None:
        raise UserError(f"{source.name} has no vae, whose latents its network denoises; save the whole pipeline")
    if "size" not in options:
        return size_of(source, sample_size), decoder
    found = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", options["size"])
    height, width = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not found or height % decoder.times or width % decoder.times:
        raise UserError(
            f"size={one_line(options['size'], 40)}: write pixels of images, as 512, or height and width, as 512x768, in "
            f"multiples of {decoder.times}"
        )
    source.told.append(f"size={height}x{width}")
    return (height // decoder.times, width // decoder.times), decoder
