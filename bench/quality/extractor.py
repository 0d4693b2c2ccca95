"""An extractor with its reference: loaded by name, or found by the teacher's data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from bench.quality.classifier import Classifier, ClassifierConfig, extract
from bench.quality.frechet import Moments, Reference
from samplers.errors import UserError
from samplers.models.teacher import Teacher
from samplers.models.weights import fill, load_tensors
from samplers.models.zoo import find_card, known_cards


@dataclass(frozen=True)
class Extractor:
    """A loaded extractor and what its metrics compare with.

    Attributes:
        name: as in the metrics' names ("mnist" gives fd_mnist, kid_mnist, ...).
        sha256: of the weights' file.
        reference_sha256: of the reference's file.
        reference: moments of the training split's features.
        reference_features: float32 [R, D], a random sample of them in random order, for KID and precision/recall.
        card: all that is recorded of it (test accuracy, floor, training).
    """

    name: str
    sha256: str
    reference_sha256: str
    network: Classifier
    reference: Reference
    reference_features: Tensor
    card: dict[str, Any]

    @property
    def num_classes(self) -> int:
        """K, the number of logits."""
        return self.network.config.classes

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(features [B, D], logits [B, K]), float32 on the images' device, of uint8 images [B, C, H, W].

        Raises:
            UserError: images of another dtype or shape than the extractor's.
        """
        self.network.to(images.device)
        return extract(self.network, images)


def load_extractor(name: str | Path) -> Extractor:
    """Load an extractor by its name in the zoo, or by the path of its card.

    Raises:
        UserError: unknown name; weights or reference missing, damaged, of another hash or of another network.
    """
    entry = find_card("extractor", name)
    card = entry.card
    try:
        tensors, _ = load_tensors(entry.weights, card["sha256"])
        network = Classifier(ClassifierConfig.from_dict(card["network"]))
        fill(network, tensors, entry.weights)
        where = entry.path.parent / card["reference"]
        stored, _ = load_tensors(where, card["reference_sha256"])
        return Extractor(
            card["name"],
            card["sha256"],
            card["reference_sha256"],
            network.eval().requires_grad_(False),
            Reference(Moments.from_tensors(stored)),
            stored["features"].float(),
            card,
        )
    except (KeyError, TypeError) as e:
        raise UserError(f"{entry.path}: the card lacks a key or has a wrong one: {e}") from e


def find_extractor(name: str | Path | None, teacher: Teacher) -> Extractor:
    """The extractor asked for, or, for None, the one in the zoo that was trained on the teacher's data.

    Of several it is the first by name, one of `add_zoo` before those that ship.

    Raises:
        UserError: as `load_extractor`, no extractor for the teacher's data, or one for images of another shape.
    """
    if name is None:
        data = teacher.card.get("data_sha256")
        fitting = [n for n, entry in known_cards("extractor").items() if data is not None and entry.card["data_sha256"] == data]
        if not fitting:
            raise UserError(f"no extractor was trained on the data of teacher '{teacher.name}'; name one with --extractor")
        name = fitting[0]
    extractor = load_extractor(name)
    c = extractor.network.config
    if (c.channels, c.image_size, c.image_size) != tuple(teacher.shape):
        own = [c.channels, c.image_size, c.image_size]
        raise UserError(
            f"extractor '{extractor.name}' scores images {own}, teacher '{teacher.name}' makes {list(teacher.shape)}"
        )
    return extractor
