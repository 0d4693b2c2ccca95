"""A checkpoint as a teacher, and as a card with safetensors beside it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samplers.documents import Document
from samplers.errors import UserError, clipped, one_line, unknown
from samplers.files import write_json
from samplers.models.cards import Line, Sha256, weights_of
from samplers.models.foreign.adm_unet import ADMUNet
from samplers.models.foreign.edm2_unet import EDM2UNet
from samplers.models.foreign.edm_unets import DhariwalUNet, SongUNet
from samplers.models.foreign.preconditioning import Preconditioning, preconditioning_of
from samplers.models.foreign.sizes import ADMSizes, DhariwalSizes, EDM2Sizes, Sizes, SongSizes
from samplers.models.teacher import Description, Teacher
from samplers.models.weights import check_finite, fill, save_tensors
from samplers.models.zoo import CardPart, ZooEntry

ARCHITECTURES: dict[str, tuple[type[Sizes], Callable[[Any], nn.Module]]] = {
    "SongUNet": (SongSizes, SongUNet),
    "DhariwalUNet": (DhariwalSizes, DhariwalUNet),
    "EDM2UNet": (EDM2Sizes, EDM2UNet),
    "ADMUNet": (ADMSizes, ADMUNet),
}
"""The networks that are known here, by the word in a card."""


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        name: what records call the teacher.
        sha256: of the file.
        origin: the file, as errors call it.
        architecture: one of `ARCHITECTURES`.
        network: its sizes.
        preconditioning: what its output means.
        tensors: by the names of the original's state dict.
        vae: the VAE whose latents it denoises; None of pixels.
        data: SHA-256 of the data it was trained on, if known.
    """

    name: str
    sha256: str
    origin: str
    architecture: str
    network: Sizes
    preconditioning: Preconditioning
    tensors: Mapping[str, Tensor] = field(repr=False)
    vae: str | None = None
    data: str | None = None

    def card(self) -> dict[str, Any]:
        """All but the tensors, as a card says it."""
        return {
            "architecture": self.architecture,
            "network": self.network.values(),
            "preconditioning": self.preconditioning.values(),
            **({"vae": self.vae} if self.vae else {}),
            **({"data_sha256": self.data} if self.data else {}),
        }


class CheckpointTeacher(Teacher):
    """A network of another code as a `Teacher`, in float32."""

    def __init__(self, found: Checkpoint):
        sizes, process = found.network, found.preconditioning.process()
        card = found.card() | ({"note": process.note} if process.note else {})
        shape = (sizes.channels, sizes.image_size, sizes.image_size)
        super().__init__(
            found.name, shape, sizes.classes, process.schedule, scaling=process.scaling, sha256=found.sha256,
            data=found.data, card=card,
        )  # fmt: skip
        self.network, self.vae = network_of(found), found.vae
        self.unconditional = not sizes.classes or getattr(sizes, "null_class", False)
        self.image_shape = None if self.vae else shape

    def forward(self, x: Tensor, sigma: float | Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is None and not self.unconditional:
            raise UserError(f"{self.name} needs a class for each image: it was not trained without; ask for labels balanced")
        if labels is not None and not self.num_classes:
            raise UserError(f"{self.name} has no classes; call it without labels")
        if labels is None and self.num_classes:
            labels = torch.full((len(x),), -1, device=x.device)
        assert self.scaling is not None
        return self.scaling.denoise(lambda z, noise: self.network(z, noise, labels)[:, : x.shape[1]], x, sigma)

    def networks(self) -> list[nn.Module]:
        return [self.network]

    def decode(self, x: Tensor) -> Tensor:
        if self.vae:
            raise UserError(
                f"{self.name} denoises latents of {self.vae}, which its file does not hold: its images cannot be scored; "
                "time, counts and trajectory error can be had with --metrics none"
            )
        return x

    def describe(self) -> Description:
        return super().describe()._replace(trained=self.card.get("note", ""))


def network_of(found: Checkpoint) -> nn.Module:
    """The network of a checkpoint with its tensors, in float32; before they are known to fit it takes no memory.

    Raises:
        UserError: sizes of which no network can be made, tensors of another network, or not finite ones.
    """
    sizes, make = found.network, ARCHITECTURES[found.architecture][1]
    shape = (1, sizes.channels, sizes.image_size, sizes.image_size)
    try:
        with torch.device("meta"), torch.no_grad():
            network = make(sizes)
            network(torch.zeros(shape), torch.zeros(1), torch.zeros(1, dtype=torch.int64) if sizes.classes else None)
    except (ValueError, RuntimeError, ZeroDivisionError, OverflowError) as e:
        raise UserError(f"{found.origin}: no network can be made of its sizes ({one_line(e, 100)}); compare its card") from e
    check_finite(found.tensors, found.origin)
    fill(network, {k: v.float() for k, v in found.tensors.items()}, found.origin)
    return network.requires_grad_(False)


def teacher_of(found: Checkpoint, device: torch.device | str) -> CheckpointTeacher:
    """A checkpoint, ready to sample.

    Raises:
        UserError: as `network_of`.
    """
    return CheckpointTeacher(found).to(device).to(memory_format=torch.channels_last).eval()


class _Card(CardPart):
    name: Line
    sha256: Sha256
    architecture: Line
    vae: Line | None = None
    data_sha256: Line | None = None


def restore(entry: ZooEntry, device: torch.device | str) -> CheckpointTeacher:
    """The teacher of a card that `save` wrote.

    Raises:
        UserError: a card without a key or of an unknown architecture, weights missing, damaged or of another network.
    """
    card, document = entry.read(_Card), Document(entry.card, str(entry.path))
    if card.architecture not in ARCHITECTURES:
        raise UserError(f"{entry.path}: {unknown('architecture', card.architecture, ARCHITECTURES)}")
    sizes = ARCHITECTURES[card.architecture][0].of(document.section("network"))
    found = Checkpoint(
        card.name,
        card.sha256,
        str(entry.path),
        card.architecture,
        sizes,
        preconditioning_of(document),
        weights_of(entry, card.sha256, ("architecture",)),
        card.vae,
        card.data_sha256,
    )
    return teacher_of(found, device)


def save(found: Checkpoint, out: Path, source: str) -> Path:
    """Write a checkpoint as safetensors and its card beside it, once it is known to work; returns the card's path.

    Args:
        found: what to write.
        out: the card, NAME.json; its weights are NAME.safetensors.
        source: the file that it comes from, by name.

    Raises:
        UserError: a name that does not end in .json, tensors that are of another network, or a folder that cannot be written.
    """
    if out.suffix != ".json":
        raise UserError(f"{clipped(str(out))} names no card; write OUT as NAME.json, its weights are put beside it")
    network_of(found)
    weights = out.with_suffix(".safetensors")
    digest = save_tensors(weights, found.tensors, {"name": out.stem, "architecture": found.architecture})
    card = {"kind": "teacher", "name": out.stem, **found.card(), "weights": weights.name, "sha256": digest}
    write_json(out, card | {"source": {"file": source, "sha256": found.sha256}})
    return out
