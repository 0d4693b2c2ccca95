"""Sizes of other people's networks, by which a card tells them; what no network can be made of is refused."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from samplers.settings import Settings

Count = Annotated[int, Field(ge=1, le=64)]
Width = Annotated[int, Field(ge=1, le=65536)]
Balance = Annotated[float, Field(ge=0, le=1)]


class Sizes(Settings):
    """What the U-Nets share; each level halves the resolution."""

    channels: Width = Field(description="channels C of the images")
    outputs: Width = Field(description="channels that the network returns; 2 C: the variance is learned too, and not used")
    image_size: int = Field(ge=1, le=8192, description="height and width of the images")
    classes: int = Field(ge=0, le=65536, description="number of classes, 0 for an unconditional network")
    width: Width = Field(description="feature channels that the multipliers are of")
    multipliers: tuple[Annotated[float, Field(gt=0, le=64)], ...] = Field(
        min_length=1, max_length=10, description="feature channels of each level, as multiples of `width`"
    )
    blocks: Count = Field(description="residual blocks a level on the way down; one more on the way up")
    attention: tuple[Width, ...] = Field(description="resolutions of the feature map that get self-attention")

    @model_validator(mode="after")
    def _fit(self) -> Self:
        halved = 2 ** (len(self.multipliers) - 1)
        if self.image_size % halved:
            raise ValueError(f"image_size: {self.image_size} has no {len(self.multipliers)} levels, each half the one before")
        if self.outputs not in (self.channels, 2 * self.channels):
            raise ValueError(f"outputs must be channels, {self.channels}, or twice that, not {self.outputs}")
        return self

    @property
    def widths(self) -> list[int]:
        """Feature channels of each level."""
        return [int(self.width * m) for m in self.multipliers]


class SongSizes(Sizes):
    """DDPM++ and NCSN++, as EDM has them (`SongUNet`)."""

    time: Literal["positional", "fourier"] = "positional"
    residual_input: bool = Field(False, description="the image is halved and added at each level (NCSN++)")
    kernel: tuple[Width, ...] = Field((1, 1), min_length=1, max_length=16, description="of the filter that resamples")
    time_multiplier: Count = Field(1, description="channels of the time's frequencies, as multiple of `width`")
    embedding_multiplier: Count = Field(4, description="channels of the embedding, as multiple of `width`")
    augmentation: int = Field(0, ge=0, le=1024, description="labels of EDM's augmentation; none is given in sampling")
    null_class: bool = Field(False, description="whether it was trained without labels too")


class DhariwalSizes(Sizes):
    """ADM, as EDM has it (`DhariwalUNet`)."""

    embedding_multiplier: Count = 4
    augmentation: int = Field(0, ge=0, le=1024)
    null_class: bool = False


class EDM2Sizes(Sizes):
    """The magnitude-preserving U-Net of EDM2."""

    time_width: Width | None = Field(None, description="channels of the time's frequencies; null: those of the first level")
    embedding_width: Width | None = Field(None, description="channels of the embedding; null: those of the widest level")
    head_width: Width = 64
    label_balance: Balance = 0.5
    concat_balance: Balance = 0.5
    residual_balance: Balance = 0.3
    attention_balance: Balance = 0.3
    clip: float | None = Field(256.0, gt=0)


class ADMSizes(Sizes):
    """The U-Net of guided-diffusion, and of OpenAI's consistency models."""

    heads: int = Field(0, ge=0, le=1024, description="attention heads; 0: one for each `head_width` channels")
    head_width: Width = 64
    legacy_order: bool = Field(False, description="query, key and value lie side by side head by head, not all heads of each")
    film: bool = Field(True, description="the embedding scales and shifts, or is added")
    residual_resampling: bool = Field(True, description="residual blocks halve and double the resolution, or plain layers")
