"""A network of diffusers as a teacher: its classes, its learned variance, its decoder."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from samplers.errors import UserError, clipped
from samplers.models.diffusers.latents import Decoder
from samplers.models.diffusers.process import Process
from samplers.models.diffusers.source import Source
from samplers.models.teacher import Description, Teacher


class NetworkTeacher(Teacher):
    """A network of diffusers that is called as network(x, time, class_labels=labels) or without labels.

    A subclass may call it otherwise: `evaluate`, with what `told` says of the labels.

    Args:
        source: of its files.
        network: with a config of in_channels and out_channels; what it gives beyond in_channels, a learned variance, is left.
        process: that it was trained on.
        size: (H, W) of its states.
        classes: K of labels; 0 for none.
        null: the row of no class in its table; None where it has none, and then each call needs labels.
        decoder: of its latents; None of pixels.
    """

    fold = 1
    """Side of the squares of a state whose values are channels of one place of the network's input."""

    def __init__(
        self,
        source: Source,
        network: nn.Module,
        process: Process,
        size: tuple[int, int],
        classes: int,
        null: int | None,
        decoder: Decoder | None = None,
    ):
        config: Any = network.config
        inputs = config.in_channels
        if config.out_channels not in (inputs, 2 * inputs, None):
            raise UserError(
                f"{source.name}: the network makes {config.out_channels} channels of {inputs}; as many are known, or "
                "twice as many (a learned variance)"
            )
        note = {"note": process.note} if process.note else {}
        shape = (inputs // self.fold**2, *size)
        super().__init__(
            source.name,
            shape,
            classes,
            process.schedule,
            scaling=process.scaling,
            sha256=source.sha256(),
            card={"library": "diffusers", "class": type(network).__name__, "prediction": process.scaling.name} | note,
        )
        self.network, self.null, self.decoder = network, null, decoder
        self.image_shape = shape if decoder is None else decoder.image_shape(shape)
        self.unconditional = not classes or null is not None

    def forward(self, x: Tensor, sigma: float | Tensor, labels: Tensor | None = None) -> Tensor:
        told = self.told(labels, x)

        def network(z: Tensor, time: Tensor) -> Tensor:
            return self.evaluate(z.float(), time, told)[:, : self.shape[0]]

        assert self.scaling is not None
        return self.scaling.denoise(network, x, sigma)

    def evaluate(self, z: Tensor, time: Tensor, told: Mapping[str, Any]) -> Tensor:
        """The network's output [B, C or more, H, W] for its input z, float32, at times [B]."""
        return self.network(z, time, return_dict=False, **told)[0]

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

    def decode(self, x: Tensor) -> Tensor:
        return x if self.decoder is None else self.decoder(x)

    def describe(self) -> Description:
        return super().describe()._replace(trained=self.card.get("note", ""))


def size_of(source: Source, size: object) -> tuple[int, int]:
    """(H, W) of a config's `sample_size`.

    Raises:
        UserError: it is not told, or is no size.
    """
    pair = tuple(size) if isinstance(size, list | tuple) else (size, size)
    if len(pair) != 2 or not all(type(n) is int and 0 < n <= 65_536 for n in pair):
        raise UserError(f"{source.name}: sample_size is {clipped(size)}; write the images' size, as 32, into the config.json")
    return pair[0], pair[1]
