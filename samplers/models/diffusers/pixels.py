"""Models of pixels: diffusers' `UNet2DModel` with the fields of its scheduler."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from samplers.errors import UserError, clipped, one_line
from samplers.models.diffusers.networks import load_network
from samplers.models.diffusers.process import Process, process_of
from samplers.models.diffusers.source import Source
from samplers.models.teacher import Description, Teacher


class NetworkTeacher(Teacher):
    """A network of diffusers that is called as network(x, time, class_labels=labels) or without labels.

    Args:
        source: of its files.
        network: with a config of in_channels and out_channels; what it gives beyond in_channels, a learned variance, is left.
        process: that it was trained on.
        size: (H, W) of its states.
        classes: K of labels; 0 for none.
        null: the row of no class in its table; None where it has none, and then each call needs labels.
    """

    def __init__(
        self, source: Source, network: nn.Module, process: Process, size: tuple[int, int], classes: int, null: int | None
    ):
        config: Any = network.config
        channels = config.in_channels
        if config.out_channels not in (channels, 2 * channels, None):
            raise UserError(
                f"{source.name}: the network makes {config.out_channels} channels of {channels}; as many are known, or "
                "twice as many (a learned variance)"
            )
        note = {"note": process.note} if process.note else {}
        super().__init__(
            source.name,
            (channels, *size),
            classes,
            process.schedule,
            scaling=process.scaling,
            sha256=source.sha256(),
            card={"library": "diffusers", "class": type(network).__name__, "prediction": process.scaling.name} | note,
        )
        self.network, self.null = network, null
        self.unconditional = not classes or null is not None

    def forward(self, x: Tensor, sigma: float | Tensor, labels: Tensor | None = None) -> Tensor:
        told = self.told(labels, x)
        channels = self.shape[0]

        def network(z: Tensor, time: Tensor) -> Tensor:
            return self.network(z.float(), time, return_dict=False, **told)[0][:, :channels]

        assert self.scaling is not None
        return self.scaling.denoise(network, x, sigma)

    def told(self, labels: Tensor | None, x: Tensor) -> Mapping[str, Tensor]:
        """What the network is told of the labels of images x.

        Raises:
            UserError: labels of a model without classes, or none where each call needs them.
        """
        if not self.num_classes:
            if labels is not None:
                raise UserError(f"{self.name} has no classes; call it without labels")
            return {}
        if self.null is None:
            if labels is None:
                raise UserError(
                    f"{self.name} needs a class for each image: it was not trained without; ask for labels balanced"
                )
            return {"class_labels": labels}
        if labels is None:
            labels = torch.full((len(x),), -1, device=x.device)
        return {"class_labels": torch.where(labels < 0, self.null, labels)}

    def networks(self) -> list[nn.Module]:
        return [self.network]

    def describe(self) -> Description:
        return super().describe()._replace(trained=self.card.get("note", ""))


def load(source: Source, options: Mapping[str, str]) -> NetworkTeacher:
    """A `UNet2DModel`; of the options, null=ROW is the row of its table of classes that was trained as no class.

    Raises:
        UserError: what cannot be used; names the field.
    """
    process = process_of(source.settings("scheduler", "scheduler_config.json"))
    network, config = load_network(source, "unet", {"UNet2DModel"})
    if config.time_embedding_type == "fourier":
        raise UserError(f"{source.name}: time_embedding_type 'fourier' (a VE process) is not known; bring it by python:")
    if config.class_embed_type is not None:
        raise UserError(
            f"{source.name}: class_embed_type {clipped(config.class_embed_type)} is not known; known is a table, null"
        )
    rows = config.num_class_embeds or 0
    null = null_row(options, rows)
    return NetworkTeacher(
        source, network, process, size_of(source, config.sample_size), rows if null is None else rows - 1, null
    )


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


def size_of(source: Source, size: object) -> tuple[int, int]:
    """(H, W) of a config's `sample_size`.

    Raises:
        UserError: it is not told, or is no size.
    """
    pair = tuple(size) if isinstance(size, list | tuple) else (size, size)
    if len(pair) != 2 or not all(type(n) is int and 0 < n <= 65_536 for n in pair):
        raise UserError(f"{source.name}: sample_size is {clipped(size)}; write the images' size, as 32, into the config.json")
    return pair[0], pair[1]
