"""Sizes of a U-Net, refused where no network can be made of them."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from samplers.settings import Settings


class UNetSizes(Settings):
    """Sizes of a `UNet` that do not depend on its images."""

    width: int = Field(
        256, ge=4, le=8192, multiple_of=2, description="feature channels of the first level (`nf` in the papers)"
    )
    multipliers: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(
        (1, 1, 1),
        min_length=1,
        max_length=10,
        description="feature channels of each level, as multiples of `width`; each level halves the resolution",
    )
    blocks: int = Field(3, ge=1, le=64, description="residual blocks per level on the way down (one more on the way up)")
    attention: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (16, 8), description="resolutions (of the feature map) that get self-attention; the middle always does"
    )
    heads: int = Field(1, ge=0, description="attention heads, or 0 to take `head_width` channels a head instead")
    head_width: int = Field(64, ge=1, description="channels of a head where `heads` is 0")
    embedding: int = Field(1024, ge=1, le=65536, description="channels of the time embedding")
    patch: int = Field(
        1, ge=1, le=64, description="pixel-unshuffle factor at the input (1: none); the first level works at image size / patch"
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout probability inside the residual blocks")

    def heads_of(self, channels: int) -> int:
        """Attention heads at so many feature channels."""
        return self.heads or channels // self.head_width

    def _refuse_heads(self, multiplier: int) -> None:
        channels = self.width * multiplier
        heads = self.heads_of(channels)
        if not heads or channels % heads:
            asked = f"{self.heads} heads" if self.heads else f"heads of {self.head_width} channels"
            raise ValueError(f"heads: {channels} feature channels have no {asked}; choose heads or head_width that divide them")

    @model_validator(mode="after")
    def _middle_has_heads(self) -> Self:
        self._refuse_heads(self.multipliers[-1])
        return self


class UNetConfig(UNetSizes):
    """Sizes of a `UNet`, those of its images included."""

    channels: int = Field(3, ge=1, le=4096, description="image channels C")
    image_size: int = Field(32, ge=1, le=8192, description="height and width H = W of the image in pixels")
    classes: int = Field(0, ge=0, le=65536, description="number of classes, 0 for an unconditional network")

    @model_validator(mode="after")
    def _levels_fit(self) -> Self:
        halved = 2 ** (len(self.multipliers) - 1)
        if self.image_size % (self.patch * halved):
            raise ValueError(
                f"multipliers: images of {self.image_size} pixels have no {len(self.multipliers)} levels, each half the one "
                f"before, with patch {self.patch}; the size must be a multiple of {self.patch * halved}"
            )
        for level, multiplier in enumerate(self.multipliers):
            if self.image_size // self.patch // 2**level in self.attention:
                self._refuse_heads(multiplier)
        return self
