"""The feature extractor of the embedded studies: a small classifier whose last hidden layer the metrics compare images in."""

from itertools import pairwise
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from bench.quality.extractor import NAME, Extractor, Features
from samplers.errors import UserError
from samplers.models.cards import Sha256
from samplers.models.weights import fill, load_tensors
from samplers.models.zoo import CardPart, FileName, ZooEntry, find_card
from samplers.settings import Settings

CHUNK = 500
"""Images per forward: bounds the memory whatever batch is asked for."""


class ClassifierSizes(Settings):
    """Sizes of a `Classifier` that do not depend on its images."""

    widths: tuple[Annotated[int, Field(ge=8, le=4096, multiple_of=8)], ...] = Field(
        (16, 32, 48, 64),
        min_length=4,
        max_length=4,
        description="feature channels of its four convolutions, or of its four resolutions; multiples of 8",
    )
    features: int = Field(64, ge=1, le=65536, description="of its feature layer")
    blocks: int = Field(
        0,
        ge=0,
        le=64,
        description="residual blocks at each resolution below the first; 0: four convolutions, enough for digits",
    )


class ClassifierConfig(ClassifierSizes):
    """Sizes of a `Classifier`, those of its images included."""

    channels: int = Field(ge=1, le=4096, description="image channels C")
    image_size: int = Field(ge=1, le=8192, description="height and width H = W of the image in pixels")
    classes: int = Field(ge=1, le=65536, description="number of classes")


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
    """(features [B, D], logits [B, K]) in float32 of uint8 images [B, C, H, W] on the network's device."""
    parts = [network(part.float() / 127.5 - 1) for part in images.split(CHUNK)]
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


class Card(CardPart):
    """What loading takes of an extractor's card."""

    name: Annotated[str, Field(pattern=NAME)]
    network: ClassifierConfig
    weights: FileName
    sha256: Sha256
    reference: FileName
    reference_sha256: Sha256
    data_sha256: str | None = None


class TrainedClassifier(Extractor):
    """A classifier with all that its card tells, as an `Extractor`; its reference lies beside the card."""

    def __init__(self, network: Classifier, card: Card, entry: ZooEntry):
        c = network.config
        self.network, self.card = network, entry.card
        self.name, self.sha256, self.data = card.name, card.sha256, card.data_sha256
        self.shape, self.classes, self.dimensions = (c.channels, c.image_size, c.image_size), c.classes, c.features
        self.reference_file = (entry.path.parent / card.reference, card.reference_sha256)

    def __call__(self, images: Tensor) -> Features:
        self.network.to(images.device)
        return Features(*extract(self.network, images))


def load(name: str | Path) -> TrainedClassifier:
    """The classifier of a name in the zoo, or of the path of a card: the loader "zoo" of `bench.extractors`.

    Raises:
        UserError: unknown name; a card with a wrong value; weights missing, damaged, of another hash or of another network.
    """
    entry = find_card("extractor", name)
    card = entry.read(Card)
    weights = entry.path.parent / card.weights
    tensors, _ = load_tensors(weights, card.sha256)
    with torch.device("meta"):  # what a forged size asks for may be more than there is memory
        needed = sum(t.numel() for t in Classifier(card.network).state_dict().values())
    if (there := sum(t.numel() for t in tensors.values())) != needed:
        raise UserError(f"{weights} holds {there:,} numbers, the network needs {needed:,}; check the card's sizes")
    network = Classifier(card.network)
    fill(network, tensors, weights)
    return TrainedClassifier(network.eval().requires_grad_(False), card, entry)
