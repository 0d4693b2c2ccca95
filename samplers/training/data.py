"""Images and labels from EDM's layout (a zip or a folder of lossless images with `dataset.json`) or from torchvision."""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from samplers.errors import UserError, one_line

RESIDENT = 4_000_000_000
"""Bytes of a data set that a device may hold."""
SIDE, CLASSES = 4096, 65536
"""What is taken for an image, in pixels, and for a class: more is a mistake or a bomb."""
FILE = 2**30
"""Bytes of one file of a data set, unpacked."""


@dataclass(frozen=True)
class ImageSet:
    """Images and their classes.

    Attributes:
        images: uint8 [N, C, H, W].
        labels: int64 [N].
        sha256: of both (pixels and labels, whatever the packaging).
        flip: whether `draw` mirrors every other image, left to right.
    """

    images: Tensor
    labels: Tensor
    sha256: str
    flip: bool = False

    @property
    def num_classes(self) -> int:
        """Labels run over 0 .. num_classes - 1."""
        return int(self.labels.max()) + 1

    def near(self, device: torch.device) -> "ImageSet":
        """The same set where batches are drawn fastest: on the device, unless it would take much of its memory."""
        if self.images.numel() > RESIDENT:
            return self
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def floats(self, indices: Tensor | slice) -> Tensor:
        """The chosen images as float32 in [-1, 1], [B, C, H, W]."""
        return self.images[indices].float() / 127.5 - 1

    def draw(self, count: int, label_dropout: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A batch at random: images [count, C, H, W] and labels [count], some of them -1 (no class) by chance."""
        device = self.images.device
        chosen = torch.randint(len(self.images), (count,), generator=generator).to(device, non_blocking=True)
        dropped = (torch.rand(count, generator=generator) < label_dropout).to(device, non_blocking=True)
        images = self.floats(chosen)
        if self.flip:
            images = mirrored(images, generator)
        return images, torch.where(dropped, -1, self.labels[chosen])


def mirrored(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images [B, C, H, W], each left to right with probability 1/2."""
    chosen = (torch.rand(len(images), generator=generator) < 0.5).to(images.device, non_blocking=True)
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def load_images(sources: Sequence[str | Path], image_size: int | None = None) -> ImageSet:
    """Read one or more sources, in order, as one set.

    Args:
        sources: each a zip or folder with images and `dataset.json` ({"labels": [[file name, class], ...]}), or
            "torchvision:CLASS:ROOT", e.g. "torchvision:MNIST:data", with ":test" after it for the test split, which
            downloads where there is a network.
        image_size: pad with black, evenly, to this height and width in pixels; None leaves images as they are.

    Raises:
        UserError: a source missing or damaged, without `dataset.json`, of several shapes, or larger than `image_size`; images
            that are not 8-bit grey or RGB, labels that are no classes, or more than the memory holds.
    """
    arrays: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for source in sources:
        if str(source).startswith("torchvision:"):
            a, b = _from_torchvision(str(source))
        else:
            a, b = _from_edm(Path(source))
        if arrays and a.shape[1:] != arrays[0].shape[1:]:
            raise UserError(f"{source}: images of shape {a.shape[1:]}, but the first source has {arrays[0].shape[1:]}")
        arrays.append(a)
        labels.append(b)
    images, classes = torch.from_numpy(np.concatenate(arrays)), torch.from_numpy(np.concatenate(labels))
    if image_size is not None:
        images = _pad(images, image_size)
    digest = hashlib.sha256(np.ascontiguousarray(images).data)
    digest.update(np.ascontiguousarray(classes).data)
    return ImageSet(images, classes, digest.hexdigest())


def _pad(images: Tensor, size: int) -> Tensor:
    height, width = images.shape[2:]
    if max(height, width) > size:
        raise UserError(f"images are {width}x{height}, larger than the {size}x{size} asked for; set image_size to fit")
    left, top = (size - width) // 2, (size - height) // 2
    return F.pad(images, (left, size - width - left, top, size - height - top))


def _from_edm(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        if not path.exists():
            raise UserError(f"no data at {one_line(path)}; name a zip or folder with dataset.json (see --data)")
        if path.is_dir():
            return _read(path, lambda name: (path / name).read_bytes(), lambda name: (path / name).stat().st_size)
        with zipfile.ZipFile(path) as archive:
            return _read(path, archive.read, lambda name: archive.getinfo(name).file_size)
    except OSError as e:
        raise UserError(f"no data at {one_line(path)}: {e.strerror}; name a zip or folder with dataset.json") from e
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as e:  # RuntimeError: what looks encrypted or unsupported
        raise UserError(f"{path} is not a whole zip file ({one_line(e)}); fetch it again") from e


def _read(path: Path, read: Callable[[str], bytes], size: Callable[[str], int]) -> tuple[np.ndarray, np.ndarray]:
    def content_of(name: str) -> bytes:
        if size(name) > FILE:
            raise UserError(f"{path}: {one_line(name)} has more than {FILE:,} bytes; no image or list of labels is so large")
        return read(name)

    try:
        listed = json.loads(content_of("dataset.json"))
        pairs = [(str(name), label) for name, label in listed["labels"] or ()]
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as e:
        raise UserError(f"{path}: dataset.json is not valid JSON ({one_line(e)})") from e
    except (KeyError, OSError) as e:
        raise UserError(f"{path} has no dataset.json with labels; make it with EDM's dataset_tool.py") from e
    except (TypeError, ValueError) as e:
        raise UserError(f'{path}: dataset.json must be {{"labels": [[file name, class], ...]}} ({one_line(e)})') from e
    if not pairs:
        raise UserError(f"{path}: dataset.json labels no image; images without labels need class 0")

    def images() -> Iterator[tuple[str, Image.Image]]:
        for name, _ in pairs:
            try:
                content = content_of(name)
            except (KeyError, OSError, ValueError) as e:  # ValueError: a name that no file can have
                raise UserError(f"{path}: dataset.json names {one_line(name)}, which is not there") from e
            try:
                yield one_line(name), Image.open(io.BytesIO(content))
            except Exception as e:
                raise unreadable(path, one_line(name), e) from e

    return _stacked(path, images(), len(pairs)), _classes(path, (label for _, label in pairs))


def unreadable(where: object, name: str, error: Exception) -> UserError:
    """The error for an image that cannot be opened or decoded."""
    return UserError(f"{where}: {name} is not a readable image ({one_line(error)})")


def pixels_of(where: object, name: str, image: Image.Image) -> np.ndarray:
    """An opened image as uint8 [H, W] or [H, W, 3]; it is not decoded before its size is known to be sane.

    Raises:
        UserError: it is not 8-bit grey or RGB, too large, or no readable image; named by where it lies and its name there.
    """
    if image.mode not in ("L", "RGB"):
        raise UserError(f"{where}: {name} is of mode {image.mode}; convert the images to 8-bit grey or RGB")
    if max(image.size) > SIDE:
        raise UserError(f"{where}: {name} has {image.size[0]}x{image.size[1]} pixels; the most is {SIDE}x{SIDE}")
    try:
        return np.asarray(image)
    except Exception as e:  # Pillow raises of every kind on files that are cut or forged
        raise unreadable(where, name, e) from e


def _stacked(where: object, images: Iterator[tuple[str, Image.Image]], count: int) -> np.ndarray:
    """Names and opened images as one array uint8 [N, C, H, W]."""
    stack: np.ndarray | None = None
    for i, (name, image) in enumerate(images):
        pixels = pixels_of(where, name, image)
        if stack is None:
            if count * pixels.nbytes > psutil.virtual_memory().total:
                raise UserError(f"{where}: {count} images like {name} do not fit into memory; list fewer, or smaller ones")
            stack = np.empty((count, *pixels.shape), np.uint8)
        if pixels.shape != stack.shape[1:]:
            raise UserError(f"{where}: {name} has shape {pixels.shape}, the images before it {stack.shape[1:]}")
        stack[i] = pixels
    assert stack is not None
    return np.ascontiguousarray(stack[:, None] if stack.ndim == 3 else stack.transpose(0, 3, 1, 2))


def _classes(where: object, labels: Iterable[Any]) -> np.ndarray:
    """Labels as int64 [N], each a class of 0 .. CLASSES - 1."""
    found = []
    for label in labels:
        if isinstance(label, bool) or not isinstance(label, int | np.integer) or not 0 <= label < CLASSES:
            raise UserError(f"{where}: label {one_line(label, 40)} is not a class, a whole number of 0 to {CLASSES - 1}")
        found.append(label)
    return np.array(found, dtype=np.int64)


def _from_torchvision(source: str) -> tuple[np.ndarray, np.ndarray]:
    import torchvision

    told = one_line(source)
    parts = source.removesuffix(":test").split(":")
    if len(parts) != 3:
        raise UserError(f"'{told}': write torchvision:CLASS:ROOT, as in torchvision:MNIST:data, and :test for the test split")
    _, name, root = parts
    kind, base = getattr(torchvision.datasets, name, None), torchvision.datasets.VisionDataset
    if not isinstance(kind, type) or not issubclass(kind, base) or kind is base:
        raise UserError(f"torchvision has no data set '{one_line(name)}'; see torchvision.datasets")
    try:
        dataset = kind(root, train=not source.endswith(":test"), download=True)
        items = list(dataset)
    except Exception as e:  # whatever a data set's code raises
        raise UserError(f"torchvision could not load {name} into {one_line(root)}: {one_line(e)}") from e
    if not items or not all(isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], Image.Image) for item in items):
        raise UserError(f"{told}: not a data set of pairs of an image and a class; name one of classes, as CIFAR10")
    images = ((f"image {i}", image) for i, (image, _) in enumerate(items))
    return _stacked(told, images, len(items)), _classes(told, (label for _, label in items))
