"""What an extractor is, found by a name, by the loader and name of another kind, or by the teacher's data.

Loaders are entry points of the group `bench.extractors`: KIND -> a function of the text after "KIND:", which gives an
`Extractor`. That of "zoo" (`bench.quality.classifier`) is the one of a plain name and of the path of a card.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from samplers.errors import UserError, foreign, one_line
from samplers.models.teacher import Teacher
from samplers.models.zoo import known_cards
from samplers.registry import entries, load_spec

GROUP = "bench.extractors"
NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,79}$"
"""Of an extractor: part of the names of a record's metrics, which are columns of tables."""
Shape = tuple[int | tuple[int, ...] | None, ...]


class Features(NamedTuple):
    """What an extractor sees in B images: features [B, D], and logits [B, K] or None, float32 on the images' device."""

    features: Tensor
    logits: Tensor | None = None


@runtime_checkable
class Extractor(Protocol):
    """A frozen network that turns images into features; what it leaves out after `shape` it has as here.

    Attributes:
        name: in the metrics' names: "mnist" gives fd_mnist, kid_mnist; letters, digits, - and _.
        sha256: of its weights.
        shape: (C, H, W) of the images that it takes, None for what may be any, (1, 3) for what may be one of these.
        classes: K, the number of logits; None where it gives none.
        dimensions: D, the number of features; None where only images tell.
        gives_fid: whether the Frechet distance of its features is FID: they are those of Inception's published weights.
        resize: how it brings images to the size that its network takes, in a word; part of a reference's key.
        data: SHA-256 of the images and labels that its own reference is of.
        reference_file: its own reference's path and SHA-256, or None.
        reference_images: where that is None, sources of real images to make one of, as `load_images` takes them.
    """

    name: str
    sha256: str
    shape: Shape
    classes: int | None = None
    dimensions: int | None = None
    gives_fid: bool = False
    resize: str = "none"
    data: str | None = None
    reference_file: tuple[Path, str] | None = None
    reference_images: tuple[str, ...] = ()

    def __call__(self, images: Tensor) -> Features:
        """Of uint8 images [B, *shape] on any device."""


@runtime_checkable
class ReadsTexts(Protocol):
    """What an extractor has besides that sees texts as it does images."""

    def texts(self, prompts: Sequence[str]) -> Tensor:
        """Features of K prompts, [K, D], on the CPU."""


def load_extractor(spec: str | Path, weights: str | None = None) -> Extractor:
    """Load an extractor by its name in the zoo, by the path of its card, or by KIND or "KIND:REST" with its loader.

    Args:
        spec: the name.
        weights: a file of Inception's published weights, in the place of what the loader finds.

    Raises:
        UserError: an unknown name or kind, a loader that does not import or gives no extractor, or what the loader raises.
    """
    if weights is not None:
        from bench.quality.inception import load_published

        return load_published(weights)
    alone = str(spec) in entries(GROUP) and str(spec) != "zoo"
    load, rest = load_spec(GROUP, f"{spec}:" if alone else str(spec))
    with foreign(f"extractor '{one_line(spec)}' cannot be loaded", "its author must mend it"):
        extractor = load(rest)
        fits = isinstance(extractor, Extractor) and _fits(extractor)
    if not fits:
        raise UserError(
            f"extractor '{one_line(spec)}': what its loader gives is none; compare its name (letters, digits, - and _), "
            "sha256, shape, classes and reference_file with bench.quality.extractor.Extractor"
        )
    return extractor


def _fits(e: Extractor) -> bool:
    return (
        isinstance(e.name, str)
        and re.fullmatch(NAME, e.name) is not None
        and isinstance(e.sha256, str)
        and len(e.shape) == 3
        and all(s is None or isinstance(s, int | tuple) for s in e.shape)
        and all(n is None or isinstance(n, int) for n in (e.classes, e.dimensions))
        and (e.reference_file is None or len(e.reference_file) == 2)
    )


def find_extractor(spec: str | Path | None, teacher: Teacher, weights: str | None = None) -> Extractor:
    """The extractor asked for, or, for None, the one in the zoo that was trained on the teacher's data.

    Of several it is the first by name, one of `add_zoo` before those that ship.

    Raises:
        UserError: as `load_extractor`, no extractor for the teacher's data, or one for images of another shape.
    """
    if spec is None:
        spec = extractor_of(teacher.data)
        if spec is None:
            raise UserError(f"no extractor was trained on the data of teacher '{teacher.name}'; name one with --extractor")
    extractor = load_extractor(spec, weights)
    if teacher.image_shape is None:
        raise UserError(
            f"teacher '{teacher.name}' cannot decode its latents, so its images cannot be scored; use --metrics none"
        )
    if not _takes(extractor, teacher.image_shape):
        raise UserError(
            f"extractor '{extractor.name}' scores images [{_text(extractor.shape)}], "
            f"teacher '{teacher.name}' makes {list(teacher.image_shape)}; name another with --extractor, or --metrics none"
        )
    return extractor


def extractor_of(data: str | None) -> str | None:
    """The name of the extractor in the zoo that was trained on a teacher's data, by its hash; None where there is none."""
    cards = known_cards("extractor").items()
    return next((n for n, entry in cards if data is not None and entry.card.get("data_sha256") == data), None)


def features_of(extractor: Extractor, images: Tensor) -> Features:
    """What an extractor sees in uint8 images [B, C, H, W].

    Raises:
        UserError: images of another dtype or shape than it takes, or features and logits that are none.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or not _takes(extractor, images.shape[1:]):
        found = f"{str(images.dtype).removeprefix('torch.')} images of shape {list(images.shape)}"
        raise UserError(f"extractor '{extractor.name}' needs uint8 images [B, {_text(extractor.shape)}], not {found}")
    seen = extractor(images)
    features, logits = seen if isinstance(seen, tuple) and len(seen) == 2 else (None, None)
    if not isinstance(features, Tensor) or not features.is_floating_point() or features.shape[:-1] != (len(images),):
        raise UserError(f"extractor '{extractor.name}' gives no features [{len(images)}, D]; it has to give a Features of them")
    if (None if logits is None else list(logits.shape)) != (extractor.classes and [len(images), extractor.classes]):
        raise UserError(f"extractor '{extractor.name}' does not give the logits of {extractor.classes or 'no'} classes it has")
    if not all(torch.isfinite(v).all() for v in (features, logits) if v is not None):
        raise UserError(f"extractor '{extractor.name}' gives features or logits that are not finite; its author must mend it")
    return Features(features, logits)


def _takes(extractor: Extractor, shape: Sequence[int]) -> bool:
    if len(shape) != 3:
        return False
    return all(own in (None, s) or (isinstance(own, tuple) and s in own) for own, s in zip(extractor.shape, shape, strict=True))


def _text(shape: Shape) -> str:
    return ", ".join("any" if s is None else " or ".join(map(str, s)) if isinstance(s, tuple) else str(s) for s in shape)
