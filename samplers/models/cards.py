"""What is read of a network's card, typed: what a forged one says is told in a line with its key."""

import re
from collections.abc import Callable
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator
from torch import Tensor, nn

from samplers.errors import UserError, clipped
from samplers.models.sizes import UNetConfig
from samplers.models.weights import fill, load_tensors
from samplers.models.zoo import CardPart, ZooEntry
from samplers.schedule import Cosine

Network = TypeVar("Network", bound=nn.Module)


def _hash(value: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", value):
        raise ValueError(f"must be 64 hexadecimal digits, not {clipped(value)}")
    return value


def _line(value: str) -> str:
    if not value.isprintable() or not 0 < len(value) <= 200:
        raise ValueError(f"must be a word of at most 200 characters in one line, not {clipped(value)}")
    return value


Sha256 = Annotated[str, AfterValidator(_hash)]
Line = Annotated[str, AfterValidator(_line)]


class TrainingPart(CardPart):
    """What making a network took, as tables and figures tell of it."""

    seconds: float | None = Field(default=None, ge=0)
    device: Line | None = None
    images: int | None = Field(default=None, ge=0)
    curve: tuple[dict[str, float | None], ...] = ()


class NetworkCard(CardPart):
    """A network and its weights."""

    name: Line
    sha256: Sha256
    network: UNetConfig
    sigma_min: float = Field(gt=0)
    sigma_max: float = Field(le=1e9)
    data_sha256: Line | None = None
    training: TrainingPart = TrainingPart()

    @model_validator(mode="after")
    def _range(self) -> Self:
        if not self.sigma_min < self.sigma_max:
            raise ValueError(f"sigma_max must be above sigma_min, {self.sigma_min}, not {self.sigma_max}")
        return self

    def schedule(self) -> Cosine:
        """Its noise levels."""
        return Cosine(self.sigma_min, self.sigma_max)


class UNetCard(NetworkCard):
    """A `UNetTeacher`, or a student that is one."""

    parameterisation: Literal["x", "eps", "v"]
    sigma_end: float | None = None

    @model_validator(mode="after")
    def _end(self) -> Self:
        if self.sigma_end is not None and not self.sigma_min <= self.sigma_end < self.sigma_max:
            raise ValueError(f"sigma_end must be from sigma_min, {self.sigma_min}, to below sigma_max, not {self.sigma_end}")
        return self


class TeacherPart(CardPart):
    """Of which teacher a student is."""

    name: str | None = None
    sha256: str | None = None


class StudentCard(CardPart):
    """What a `StudentSampler` tells of its network, whatever that is."""

    name: Line
    sha256: Sha256
    labels: Literal["balanced", "none", "any"]
    steps: int | None = Field(default=None, ge=1)
    noise_seeds: tuple[int, ...] = ()
    parameters: int | None = Field(default=None, ge=0)
    teacher: TeacherPart | None = None
    training: TrainingPart = TrainingPart()
    cost: dict[str, float | None] | None = None


def weights_of(entry: ZooEntry, sha256: str, stamped: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """The tensors of a card.

    Args:
        stamped: keys of which the weights' file, if it says anything of itself, must say what the card does.

    Raises:
        UserError: weights missing, damaged, of another hash, or of another card.
    """
    tensors, info = load_tensors(entry.weights, sha256)
    for key in stamped:
        if info and info.get(key) != entry.card.get(key):
            said, found = clipped(entry.card.get(key)), clipped(info.get(key))
            raise UserError(f"{entry.path}: the card says {key} {said}, its weights are of {found}; fetch both again")
    return tensors


def unet_of(entry: ZooEntry, card: NetworkCard, make: Callable[[], Network], tensors: dict[str, Tensor]) -> Network:
    """The U-Net of a card's sizes, or what `make` builds around one, with the card's weights.

    Raises:
        UserError: weights of another network.
    """
    sizes = card.network
    channels = {sizes.width * m for m in sizes.multipliers} | {sizes.embedding}
    if not channels <= {n for t in tensors.values() for n in t.shape} or sizes.blocks > len(tensors):
        raise UserError(
            f"{entry.path}: weights are of another network; check the card's sizes"
        )  # before forged ones take memory
    network = make()
    fill(network, tensors, entry.weights)
    return network


def trained_for(seconds: float | None, device: str | None) -> str:
    """What making a network took, in a few words."""
    return ", ".join(filter(None, (None if seconds is None else f"{seconds / 60:.0f} min", device)))
