"""Images on disk as they are scored: folders, zips, npz files and data sets, read a batch at a time."""

import hashlib
import io
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from samplers.cache import cache_folder
from samplers.errors import UserError, one_line, unknown
from samplers.training.data import FILE, ImageSet, load_images, pixels_of, unreadable

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
DATA_SETS = {
    "cifar10": ("CIFAR10", "cifar-10-python.tar.gz"),
    "cifar100": ("CIFAR100", "cifar-100-python.tar.gz"),
    "mnist": ("MNIST", "MNIST/raw/ and its four .gz files"),
    "fashionmnist": ("FashionMNIST", "FashionMNIST/raw/ and its four .gz files"),
}
"""Of torchvision, by the name before -train or -test: the class, and what has to lie in the cache where there is no network."""
PIXELS = 2**28
"""Numbers of a batch that is read at most."""


@dataclass(frozen=True)
class Pictures:
    """Images in an order, all of one shape.

    Attributes:
        name: what they are called.
        n: how many.
        shape: (C, H, W).
        sha256: of their content: of files' bytes in order, so that a folder and a zip of the same files are the same.
        read: read(a, b) gives the images a .. b - 1, uint8 [b - a, C, H, W].
    """

    name: str
    n: int
    shape: tuple[int, ...]
    sha256: str
    read: Callable[[int, int], Tensor]

    @classmethod
    def of(cls, data: ImageSet, name: str) -> "Pictures":
        """Of images in memory; the hash is that of the set, its labels included."""
        return cls(name, len(data.images), tuple(data.images.shape[1:]), data.sha256, lambda a, b: data.images[a:b])

    def batches(self, size: int) -> Iterator[Tensor]:
        """All images, uint8 [B, C, H, W], in batches of at most `size`; the next one is read while one is worked on."""
        size = max(1, min(size, PIXELS // max(math.prod(self.shape), 1)))
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self.read, 0, min(size, self.n))
            for first in range(size, self.n + size, size):
                images = ahead.result()
                if first < self.n:
                    ahead = reader.submit(self.read, first, min(first + size, self.n))
                yield images


def open_pictures(spec: str | Path) -> Pictures:
    """The images that a text names.

    Args:
        spec: a folder (with all folders in it) or zip of image files, in the order of their names; an npz with `arr_0`, uint8
            [N, H, W, C]; or a data set of torchvision, as cifar10-train, which is fetched where it is not in the cache.

    Raises:
        UserError: no such thing, no images in it, or images that are damaged, not 8-bit grey or RGB, or of several shapes.
    """
    text = str(spec)
    name, _, split = text.rpartition("-")
    if name in DATA_SETS and split in ("train", "test"):
        return _data_set(text, name, split)
    path = Path(text)
    if (path / "records.jsonl").is_file():
        raise UserError(
            f"{one_line(path)} is a run's folder; name the images of a cell, {path.name}/images/CELL (--save-images)"
        )
    try:
        if path.is_dir():
            names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if _is_image(p.name))
            return _files(path, names, lambda n: (path / n).read_bytes())
        if path.suffix == ".npz":
            return _array(path)
        if path.suffix == ".zip":
            archive = zipfile.ZipFile(path)
            if any(i.file_size > FILE for i in archive.infolist()):
                raise UserError(f"{one_line(path)} holds a file of more than {FILE:,} bytes; no image is so large")
            return _files(path, sorted(n for n in archive.namelist() if _is_image(n)), archive.read)
    except OSError as e:
        raise UserError(f"no images at {one_line(path)} ({e.strerror}); name a folder, a zip or an npz of images") from e
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as e:
        raise UserError(f"{one_line(path)} is not whole ({one_line(e)}); fetch it again") from e
    if path.exists():
        raise UserError(f"{one_line(path)} is no folder, zip or npz of images; put the images into one")
    if len(path.parts) > 1:
        raise UserError(
            f"no images at {one_line(path)}; name a folder, zip or npz that is there, or a data set, as cifar10-train"
        )
    raise unknown("images", text, (f"{d}-{s}" for d in DATA_SETS for s in ("train", "test")))


def arrays_of(path: Path) -> set[str]:
    """The names of the arrays in an npz; none of what is no npz."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {n.removesuffix(".npy") for n in archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        return set()


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not Path(name).name.startswith(".")


def _data_set(text: str, name: str, split: str) -> Pictures:
    root, (kind, file) = cache_folder() / "torchvision", DATA_SETS[name]
    try:
        found = load_images([f"torchvision:{kind}:{root}" + (":test" if split == "test" else "")])
    except UserError as e:
        raise UserError(f"{e}; where there is no network put {file} into {root}") from e
    return Pictures.of(found, text)


def _files(path: Path, names: Sequence[str], content: Callable[[str], bytes]) -> Pictures:
    """Of image files, the first of which says the shape."""
    if not names:
        raise UserError(f"{one_line(path)} holds no images ({', '.join(SUFFIXES)})")
    digest = hashlib.sha256()
    for name in names:
        digest.update(hashlib.sha256(content(name)).digest())
    decode = partial(_decoded, path, content)
    shape = decode(names[0]).shape

    def checked(name: str) -> np.ndarray:
        if (pixels := decode(name)).shape != shape:
            told = f"{one_line(name)} has shape {list(pixels.shape)}, {one_line(names[0])} {list(shape)}"
            raise UserError(f"{path}: {told}; bring them to one size first")
        return pixels

    def read(first: int, end: int) -> Tensor:
        with ThreadPoolExecutor() as pool:
            return torch.from_numpy(np.stack(list(pool.map(checked, names[first:end]))))

    return Pictures(path.name, len(names), shape, digest.hexdigest(), read)


def _decoded(path: Path, content: Callable[[str], bytes], name: str) -> np.ndarray:
    """An image file as uint8 [C, H, W]."""
    told = one_line(name)
    try:
        image = Image.open(io.BytesIO(content(name)))
    except Exception as e:  # Pillow raises of every kind on files that are cut or forged
        raise unreadable(path, told, e) from e
    pixels = pixels_of(path, told, image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _array(path: Path) -> Pictures:
    """Of `arr_0` in an npz, which is never in memory as a whole."""
    with zipfile.ZipFile(path) as archive:
        if "arr_0.npy" not in archive.namelist():
            keys = one_line(", ".join(sorted(arrays_of(path)))) or "nothing"
            raise UserError(f"{one_line(path)} holds {keys}; images are arr_0, uint8 [N, H, W, C]")
        with archive.open("arr_0.npy") as f:
            kind, shape = _header(f)
            if kind != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3) or 0 in shape:
                raise UserError(f"{one_line(path)}: arr_0 is {kind} {list(shape)}; images are uint8 [N, H, W, C]")
            digest, left = hashlib.sha256(), math.prod(shape)
            while part := f.read(2**24):
                digest.update(part)
                left -= len(part)
    if left:
        raise UserError(f"{one_line(path)}: arr_0 is cut short; fetch it again")
    n, height, width, channels = shape
    row, file = height * width * channels, zipfile.ZipFile(path).open("arr_0.npy")  # noqa: SIM115 (as long as it is read)
    _header(file)
    start = file.tell()

    def read(first: int, end: int) -> Tensor:
        file.seek(start + first * row)
        pixels = np.frombuffer(file.read((end - first) * row), np.uint8).reshape(-1, height, width, channels)
        return torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())

    return Pictures(path.name, n, (channels, height, width), digest.hexdigest(), read)


def _header(file: Any) -> tuple[np.dtype, tuple[int, ...]]:
    """(dtype, shape) of an array in C order, whose numbers follow.

    Raises:
        ValueError: it is none.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, kind = read(file)
    if fortran:
        raise ValueError("an array in Fortran's order")
    return kind, shape
