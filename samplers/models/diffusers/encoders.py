"""What reads a prompt: text encoders and tokenizers of transformers, put into the pipeline that knows how to ask them."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from samplers.errors import UserError, foreign, one_line, unknown
from samplers.models.diffusers.networks import EXTRA
from samplers.models.diffusers.source import Source, library

ENCODERS = ("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel")
TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast", "T5Tokenizer", "T5TokenizerFast")


def pipeline_of(name: str, source: Source, network: nn.Module, device: torch.device, **settings: Any) -> Any:
    """A pipeline of diffusers that can `encode_prompt` and no more: of its parts it has those that read text, on the device.

    Args:
        name: of its class.
        source: whose index says which parts there are.
        network: a transformer, of which some pipelines ask their width.
        device: of the encoders.
        settings: of the pipeline.

    Raises:
        UserError: parts that are not there, not known or damaged.
    """
    parts: dict[str, Any] = {"transformer": network}
    for part in source.index:
        if part.startswith(("text_encoder", "tokenizer")):
            parts[part] = _load(source, part)
    if not any(part is not None for key, part in parts.items() if key.startswith("text_encoder")):
        raise UserError(f"{source.name} has no text_encoder in its model_index.json; save the whole pipeline")
    kind = getattr(library("diffusers", EXTRA), name)
    wanted = [key for key, p in inspect.signature(kind.__init__).parameters.items() if p.default is p.empty and key != "self"]
    with foreign(f"the text encoders of {source.name} cannot be put together", "save the whole pipeline again"):
        return kind(**{key: parts.get(key) for key in wanted}, **settings).to(device)


def _load(source: Source, part: str) -> Any:
    """A part, in float32; None of one that the model was saved without.

    Raises:
        UserError: of a class that is not known, or damaged.
    """
    listed = source.index[part]
    name = listed[1] if isinstance(listed, list) and len(listed) == 2 else listed
    if name is None:
        return None
    encodes = part.startswith("text_encoder")
    known = ENCODERS if encodes else TOKENIZERS
    if name not in known:
        raise unknown(f"class of the {part}", name, known)
    kind: Any = getattr(library("transformers", EXTRA), str(name))
    with foreign(f"the {part} of {source.name} cannot be read", "save the whole pipeline again, or fetch it again"):
        if not encodes:
            source.fetch([f"{part}/*"])
            folder = source.folder(part)
            source.read += sorted(p for p in folder.iterdir() if p.is_file())
            return kind.from_pretrained(str(folder), local_files_only=True)
        folder = source.weights(part)
        with quiet():
            told = {"local_files_only": True, "dtype": torch.float32, "output_loading_info": True}
            network, found = kind.from_pretrained(str(folder), **told)
    if lacking := sorted(map(str, found["missing_keys"])):
        raise UserError(f"the {part}'s weights in {one_line(folder)} lack '{one_line(lacking[0], 80)}'; fetch them again")
    return network.eval()


@contextmanager
def quiet() -> Iterator[None]:
    """Without the library's progress bar in the block, which would stand among ours."""
    logging = library("transformers.utils.logging", EXTRA)
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
