"""U-Nets: diffusers' `UNet2DModel` with the fields of its scheduler, of pixels or of an autoencoder's latents."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from samplers.errors import UserError, clipped, one_line
from samplers.models.diffusers.latents import decoder_of
from samplers.models.diffusers.networks import load_network
from samplers.models.diffusers.process import SCORE, process_of
from samplers.models.diffusers.source import Source
from samplers.models.diffusers.teacher import NetworkTeacher, size_of


class ScoreTeacher(NetworkTeacher):
    """A network that divides its output by the noise level that it is told, and so gives a score."""

    def evaluate(self, z: Tensor, time: Tensor, told: Mapping[str, Any]) -> Tensor:
        return super().evaluate(z, time, told) * time[:, None, None, None]


def load(source: Source, options: Mapping[str, str]) -> NetworkTeacher:
    """A `UNet2DModel`; of the options, null=ROW is the row of its table of classes that was trained as no class.

    Raises:
        UserError: what cannot be used; names the field.
    """
    process = process_of(source.settings("scheduler", "scheduler_config.json"))
    network, config = load_network(source, "unet", {"UNet2DModel"})
    score = process.scaling is SCORE
    if config.time_embedding_type != ("fourier" if score else "positional"):
        raise UserError(
            f"{source.name}: time_embedding_type {clipped(config.time_embedding_type)} does not go with its scheduler: fourier "
            "goes with ScoreSDE's VE, positional with all others; save both together, or bring it as python:MODULE:FUNCTION"
        )
    if config.class_embed_type is not None:
        raise UserError(
            f"{source.name}: class_embed_type {clipped(config.class_embed_type)} is not known; known is a table, null"
        )
    rows = config.num_class_embeds or 0
    null, size = null_row(options, rows), size_of(source, config.sample_size)
    kind = ScoreTeacher if score else NetworkTeacher
    return kind(source, network, process, size, rows if null is None else rows - 1, null, decoder_of(source))


def null_row(options: Mapping[str, str], rows: int) -> int | None:
    """The option null=ROW: the last row of a table of classes.

    Raises:
        UserError: another row, or a model without classes.
    """
    if "null" not in options:
        return None
    if not rows:
        raise UserError("null=: the model has no classes, so no row of no class; leave the option out")
    if options["null"] != str(rows - 1):
        raise UserError(f"null={one_line(options['null'], 40)}: the row of no class is the last, {rows - 1}")
    return rows - 1
