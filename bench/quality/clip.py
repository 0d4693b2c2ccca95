"""CLIP's features of images and texts (arXiv 2103.00020), and how well images fit their prompts in them (arXiv 2104.08718).

The extractor `clip:FOLDER` or `clip:OWNER/NAME` of the hub, by transformers; the metric `clip`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from bench.quality.extractor import Extractor, Features
from bench.quality.frechet import interval
from bench.quality.metrics import FEATURES, TEXTS, Score, at_least
from bench.quality.reference import Reference
from bench.quality.sample import Sample
from samplers.errors import UserError, foreign, one_line
from samplers.models.diffusers.encoders import quiet
from samplers.models.diffusers.source import REPOSITORY, Source, find, library

EXTRA = "'sampler-bench[diffusers]'"
USUAL = "openai/clip-vit-base-patch32"
CHUNK = 64


class CLIP(Extractor):
    """CLIP's projected features of images of any size, grey or RGB, and of texts."""

    shape = ((1, 3), None, None)

    def __init__(self, model: Any, processor: Any, tokenizer: Any, source: Source):
        self.model, self.processor, self.tokenizer = model, processor, tokenizer
        self.sha256, self.dimensions = source.sha256(), int(model.config.projection_dim)
        self.name = f"clip-{re.sub('[^A-Za-z0-9]+', '-', source.name.rpartition('/')[2]).strip('-')[:60]}"
        self.resize = f"{model.config.vision_config.image_size} pixels, by {type(processor).__name__} of transformers"

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Features:
        self.model.to(images.device)
        return Features(torch.cat([self._seen(part) for part in images.expand(-1, 3, -1, -1).split(CHUNK)]))

    def _seen(self, images: Tensor) -> Tensor:
        pictures = [Image.fromarray(i) for i in images.permute(0, 2, 3, 1).cpu().numpy()]
        pixels = self.processor(images=pictures, return_tensors="pt")["pixel_values"].to(images.device)
        return self.model.visual_projection(self.model.vision_model(pixel_values=pixels).pooler_output)

    @torch.inference_mode()
    def texts(self, prompts: Sequence[str]) -> Tensor:
        """Features of K prompts, [K, D] on the CPU; what is longer than CLIP reads is cut off."""
        options = {"padding": True, "truncation": True, "max_length": self.model.config.text_config.max_position_embeddings}
        found = []
        for first in range(0, len(prompts), CHUNK):
            tokens = self.tokenizer(list(prompts[first : first + CHUNK]), return_tensors="pt", **options)
            told = {k: tokens[k].to(self.model.device) for k in ("input_ids", "attention_mask")}
            found.append(self.model.text_projection(self.model.text_model(**told).pooler_output).cpu())
        return torch.cat(found)


def load(rest: str) -> CLIP:
    """CLIP of a folder that `save_pretrained` wrote, or of an id of the hub, as openai/clip-vit-base-patch32.

    Raises:
        UserError: neither, or transformers or files that are not there.
    """
    transformers = library("transformers", EXTRA)
    if not rest:
        raise UserError(f"clip names no model; write clip:FOLDER, or clip:OWNER/NAME of the hub, as {USUAL}")
    if not Path(rest).is_dir() and not REPOSITORY.fullmatch(rest):
        raise UserError(f"clip:{one_line(rest)}: no such folder, and no id of the hub (OWNER/NAME); check the path")
    source = find(rest)
    if source.settings(".").get("model_type") != "clip":
        raise UserError(f"{source.name} is no CLIP (its config.json names another model); name one, as {USUAL}")
    source.fetch(["*.txt", "*.json"])
    folder = str(source.weights("."))
    source.read += sorted(p for p in source.root.iterdir() if p.suffix in (".txt", ".json") and p.name != "config.json")
    with (
        foreign(f"the CLIP model {source.name} cannot be read", "save model, processor and tokenizer again, or fetch them"),
        quiet(),
    ):
        model = transformers.CLIPModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        processor = transformers.CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
        tokenizer = transformers.CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    return CLIP(model.eval().requires_grad_(False), processor, tokenizer, source)


class CLIPScore:
    """The metric `clip`."""

    name = "clip"
    outputs = ("clip",)
    better = "higher"
    description = "CLIP score: 100 times the mean cosine of an image's features and its prompt's"
    needs = frozenset({FEATURES, TEXTS})

    def check(self, images: int) -> None:
        at_least(2, images, self.name)

    def score(self, sample: Sample, reference: Reference, seed: int) -> dict[str, Score]:
        assert sample.texts is not None
        texts, found, first = F.normalize(sample.texts.double()), [], 0
        for part in sample.parts():
            own = texts[torch.arange(first, first + len(part.features)) % len(texts)]
            found.append(100 * (F.normalize(part.features.double()) * own).sum(dim=1).numpy())
            first += len(own)
        cosines = np.concatenate(found)
        mean = float(cosines.mean())
        return {"clip": Score(mean, *interval(mean, cosines), sample.n, cosines)}
