"""The feature extractor of the embedded study: a small classifier whose last hidden layer the metrics compare images in."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.quality.frechet import Moments, Reference
from samplers.errors import UserError
from samplers.teacher import Teacher, find_card, known_cards
from samplers.weights import fill, load_tensors

LAYERS = ("features", "logits")
CHUNK = 500
"""Images per forward: bounds the memory whatever batch is asked for."""


@dataclass(frozen=True)
class ClassifierConfig:
    """Sizes of a `Classifier`.

    Attributes:
        channels, image_size, classes: of its images.
        widths: feature channels of its four convolutions, or of its four resolutions; multiples of 8.
        features: of its feature layer.
        blocks: residual blocks at each resolution below the first; 0 for the four convolutions alone, enough for digits.
    """

    channels: int
    image_size: int
    classes: int
    widths: tuple[int, int, int, int] = (16, 32, 48, 64)
    features: int = 64
    blocks: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As a card stores it: without `blocks` where there are none, as the first cards are."""
        values = asdict(self) | {"widths": list(self.widths)}
        return {k: v for k, v in values.items() if v or k != "blocks"}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "ClassifierConfig":
        """From a card or a recipe.

        Raises:
            UserError: a wrong key, widths that are not four multiples of 8, or a wrong number of blocks.
        """
        try:
            config = ClassifierConfig(**values | {"widths": tuple(values.get("widths", ClassifierConfig.widths))})
        except TypeError as e:
            raise UserError(f"extractor network: {str(e).replace('ClassifierConfig.__init__() ', '')}") from e
        if len(config.widths) != 4 or any(w % 8 for w in config.widths):
            raise UserError(f"extractor network: widths must be four multiples of 8, not {list(config.widths)}")
        if not isinstance(config.blocks, int) or config.blocks < 0:
            raise UserError(f"extractor network: blocks must be a whole number from 0 on, not {config.blocks!r}")
        return config


class Classifier(nn.Module):
    """Images [B, C, H, W] in [-1, 1] -> (features [B, D], logits [B, K]); the logits are linear in the features.

    For digits three strided convolutions and one at full width, then a dense layer that still sees where strokes are: it scores
    every generated image at a hundredth of a small teacher's forward. With `blocks` a small residual network (He et al., arXiv
    1512.03385) whose features are averaged over places. GroupNorm, so that averaged weights need no statistics recomputed and
    an image's features do not depend on its batch.
    """

    def __init__(self, config: ClassifierConfig):
        super().__init__()
        self.config = config
        self.body = nn.Sequential(*(_residual(config) if config.blocks else _plain(config)), nn.SiLU())
        self.head = nn.Linear(config.features, config.classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(features, logits) of float images in [-1, 1]."""
        features = self.body(images)  # [B, D]
        return features, self.head(features)


def _plain(config: ClassifierConfig) -> list[nn.Module]:
    a, b, c, d = config.widths
    size = config.image_size
    for _ in range(3):
        size = (size + 1) // 2
    return [
        *_block(config.channels, a, kernel=5, stride=2),
        *_block(a, b, stride=2),
        *_block(b, c),
        *_block(c, d, stride=2),
        nn.Flatten(),
        nn.Linear(d * size * size, config.features),
    ]


def _residual(config: ClassifierConfig) -> list[nn.Module]:
    layers = _block(config.channels, config.widths[0])
    for inputs, outputs in pairwise(config.widths):
        layers += [*_block(inputs, outputs, stride=2), *(Residual(outputs) for _ in range(config.blocks))]
    return [*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(config.widths[-1], config.features)]


class Residual(nn.Module):
    """Two convolutions beside a skip, [B, C, H, W] to the same."""

    def __init__(self, channels: int):
        super().__init__()
        conv, norm, _ = _block(channels, channels)
        self.branch = nn.Sequential(*_block(channels, channels), conv, norm)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x + self.branch(x))


def _block(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), nn.GroupNorm(outputs // 8, outputs), nn.SiLU()]


@torch.inference_mode()
def extract(network: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """(features [B, D], logits [B, K]) in float32 of uint8 images [B, C, H, W] on the network's device.

    Raises:
        UserError: images of another dtype or shape than the network's.
    """
    c = network.config
    if images.dtype != torch.uint8 or tuple(images.shape[1:]) != (c.channels, c.image_size, c.image_size):
        found = f"{str(images.dtype).removeprefix('torch.')} images of shape {list(images.shape)}"
        raise UserError(f"the extractor needs uint8 images [B, {c.channels}, {c.image_size}, {c.image_size}], not {found}")
    parts = [network(part.float() / 127.5 - 1) for part in images.split(CHUNK)]
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


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


def register(extractor: Extractor) -> str:
    """Register an extractor with torch-fidelity, for its `calculate_metrics(feature_extractor=NAME)`; returns that name.

    The name carries the weights' hash, because torch-fidelity's cache knows an extractor by its name alone. Layers:
    "features" and "logits".
    """
    from torch_fidelity import FeatureExtractorBase, register_feature_extractor
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

    class Registered(FeatureExtractorBase):
        def __init__(self, name: str, features_list: Sequence[str], **kwargs: Any):
            super().__init__(name, list(features_list))
            self.network = extractor.network

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return LAYERS

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "logits" if metric == "isc" else "features"

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            found = dict(zip(LAYERS, extract(self.network, images), strict=True))
            return tuple(found[layer] for layer in self.features_list)

    name = f"{extractor.name}-{extractor.sha256[:12]}"
    if name not in FEATURE_EXTRACTORS_REGISTRY:
        register_feature_extractor(name, Registered)
    return name


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
