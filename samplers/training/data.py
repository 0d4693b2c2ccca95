"""Images and labels from EDM's layout (a zip or a folder of lossless images with `dataset.json`) or from torchvision."""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from samplers.errors import UserError

RESIDENT = 4_000_000_000
"""Bytes of a data set that a device may hold."""


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
        UserError: a source missing or damaged, without `dataset.json`, of several shapes, or larger than `image_size`.
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
    digest = hashlib.sha256(images.numpy().tobytes() + classes.numpy().tobytes()).hexdigest()
    return ImageSet(images, classes, digest)


def _pad(images: Tensor, size: int) -> Tensor:
    height, width = images.shape[2:]
    if max(height, width) > size:
        raise UserError(f"images are {width}x{height}, larger than the {size}x{size} asked for; set image_size to fit")
    left, top = (size - width) // 2, (size - height) // 2
    return F.pad(images, (left, size - width - left, top, size - height - top))


def _from_edm(path: Path) -> tuple[np.ndarray, np.ndarray]:
    if not path.exists():
        raise UserError(f"no data at {path}; name a zip or folder with dataset.json (see --data)")
    try:
        if path.is_dir():
            return _read(path, lambda name: (path / name).read_bytes())
        with zipfile.ZipFile(path) as archive:
            return _read(path, archive.read)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as e:  # RuntimeError: what looks encrypted or unsupported
        raise UserError(f"{path} is not a whole zip file ({e}); fetch it again") from e


def _read(path: Path, read: Callable[[str], bytes]) -> tuple[np.ndarray, np.ndarray]:
    try:
        listed = json.loads(read("dataset.json"))
        pairs = [(str(name), int(label)) for name, label in listed["labels"] or ()]
    except (json.JSONDecodeError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: dataset.json is not valid JSON ({e})") from e
    except (KeyError, OSError) as e:
        raise UserError(f"{path} has no dataset.json with labels; make it with EDM's dataset_tool.py") from e
    except (TypeError, ValueError) as e:
        raise UserError(f'{path}: dataset.json must be {{"labels": [[file name, class], ...]}} ({e})') from e
    if not pairs:
        raise UserError(f"{path}: dataset.json labels no image; images without labels need class 0")
    images = []
    for name, _ in pairs:
        try:
            content = read(name)
        except (KeyError, OSError) as e:
            raise UserError(f"{path}: dataset.json names {name}, which is not there") from e
        try:
            images.append(np.asarray(Image.open(io.BytesIO(content))))
        except (OSError, SyntaxError) as e:  # Pillow's for an unknown or cut file, and for a broken PNG chunk
            raise UserError(f"{path}: {name} is not a readable image ({e})") from e
        if images[-1].shape != images[0].shape:
            raise UserError(f"{path}: {name} has shape {images[-1].shape}, the images before it {images[0].shape}")
    stack = np.stack(images)
    stack = stack[:, None] if stack.ndim == 3 else stack.transpose(0, 3, 1, 2)  # [N, C, H, W]
    return np.ascontiguousarray(stack), np.array([label for _, label in pairs], dtype=np.int64)


def _from_torchvision(source: str) -> tuple[np.ndarray, np.ndarray]:
    import torchvision

    parts = source.removesuffix(":test").split(":")
    if len(parts) != 3:
        raise UserError(f"'{source}': write torchvision:CLASS:ROOT, as in torchvision:MNIST:data, and :test for the test split")
    _, name, root = parts
    try:
        dataset = getattr(torchvision.datasets, name)(root, train=not source.endswith(":test"), download=True)
    except AttributeError as e:
        raise UserError(f"torchvision has no data set '{name}'; see torchvision.datasets") from e
    except (RuntimeError, OSError) as e:
        raise UserError(f"torchvision could not load {name} into {root}: {e}") from e
    stack = np.stack([np.asarray(image) for image, _ in dataset])
    stack = stack[:, None] if stack.ndim == 3 else stack.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(stack), np.array([int(label) for _, label in dataset], dtype=np.int64)
