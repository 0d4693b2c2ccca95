"""Diffusion transformers (Peebles & Xie, arXiv 2212.09748): diffusers' `DiTTransformer2DModel`, of classes, in latents."""

from collections.abc import Mapping
from typing import Any

from samplers.errors import UserError, unknown
from samplers.models.diffusers.latents import decoder_of
from samplers.models.diffusers.networks import load_network
from samplers.models.diffusers.process import process_of
from samplers.models.diffusers.source import Source
from samplers.models.diffusers.teacher import NetworkTeacher, size_of

EMBEDDINGS = ("library", "original")
"""Of time: diffusers' frequencies end at 1 / 10000, those that DiT was trained with one step before it."""


def load(source: Source, options: Mapping[str, str]) -> NetworkTeacher:
    """A transformer of K classes, of which row K of its table is no class.

    Of the options, embedding=original gives it the frequencies of time of the original code, which published weights were
    trained with; the library's pipeline, whose images those of the default are, has others.

    Raises:
        UserError: what cannot be used; names the field.
    """
    embedding = options.get("embedding", EMBEDDINGS[0])
    if embedding not in EMBEDDINGS:
        raise unknown("embedding", embedding, EMBEDDINGS)
    process = process_of(source.settings("scheduler", "scheduler_config.json"))
    network, config = load_network(source, "transformer", {"DiTTransformer2DModel"})
    decoder = decoder_of(source)
    if decoder is None:
        raise UserError(f"{source.name} has no vae, whose latents a DiT denoises; save the whole pipeline")
    if embedding != EMBEDDINGS[0]:
        source.told.append(f"embedding={embedding}")
        blocks: Any = network.transformer_blocks
        for block in blocks:
            block.norm1.emb.time_proj.downscale_freq_shift = 0
    classes = config.num_embeds_ada_norm
    return NetworkTeacher(source, network, process, size_of(source, config.sample_size), classes, classes, decoder)
