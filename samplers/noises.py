"""Noise that belongs to an image, not to a batch: image i of seed s gets the same numbers at any batch size and device.

Counter-based Philox streams (Salmon et al. 2011, numpy's), keyed by (seed, image index), drawn on the CPU in float64 and cast.
"""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor


def _normal(key: Sequence[int] | np.ndarray, shape: Sequence[int], stream: int = 0) -> np.ndarray:
    philox = np.random.Philox(key=np.array(key, dtype=np.uint64), counter=[0, 0, 0, stream])
    return np.random.Generator(philox).standard_normal(tuple(shape))


def noise(
    seed: int,
    indices: Iterable[int],
    shape: Sequence[int],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The standard normal z of images `indices` of `seed`, shape [B, *shape].

    Args:
        seed: 0 <= seed < 2**64.
        indices: image numbers, each 0 <= i < 2**64.
        shape: shape of one image, (C, H, W).
    """
    numbers = list(indices)
    z = torch.empty(len(numbers), *shape, dtype=dtype)  # in float64 a batch of large images is hundreds of MB
    for row, i in zip(z, numbers, strict=True):
        row.copy_(torch.from_numpy(_normal((seed, i), shape)))
    return z.to(device)


def labels(indices: Iterable[int], classes: int, *, device: torch.device | str = "cpu") -> Tensor | None:
    """The classes that images `indices` are made of, int64 [B]: i mod K of image i, so each as often; None where K is 0."""
    return torch.tensor([i % classes for i in indices], dtype=torch.int64, device=device) if classes else None


class FreshNoise:
    """More noise for samplers that re-noise: image by image a function of the image's own starting noise and the step.

    Built once per `sample` call (one host copy on a GPU); `fresh(k)` is then the noise of step k, shaped like the start. So a
    stochastic sampler's image too depends on its seed and index alone, and the sampler protocol needs no generator.
    """

    def __init__(self, start: Tensor):
        self._like = start
        rows = start.detach().to("cpu", torch.float32).numpy()
        digests = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]
        self._keys = [np.frombuffer(d, dtype=np.uint64) for d in digests]

    def seeds(self) -> list[int]:
        """A number for each image, for a generator of one's own: a function of its starting noise, 0 <= seed < 2**63."""
        return [int(key[0]) >> 1 for key in self._keys]

    def __call__(self, step: int) -> Tensor:
        z = np.stack([_normal(key, self._like.shape[1:], step + 1) for key in self._keys])
        return torch.from_numpy(z).to(device=self._like.device, dtype=self._like.dtype)
