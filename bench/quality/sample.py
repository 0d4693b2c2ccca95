"""Generated images as an extractor sees them, read in batches from memory or disk: moments fit where features do not."""

from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from bench.quality.extractor import Features
from bench.quality.moments import Moments

KEPT = 10_000
"""Features that metrics get of a sample: as many as of a reference, and as precision and recall take."""
Array = np.ndarray | Tensor
Parts = Callable[[], Iterable[Features]]


class Sample:
    """Features of N images, and logits [N, K] and labels [N] or None, on the CPU.

    Attributes:
        parts: gives the features and logits of all images, in order, in batches; called for each pass over them.
        n: the number of images.
        labels: those asked for, or None.
        texts: features of K texts, [K, D], of which image i was made of number i mod K; or None.
    """

    def __init__(
        self, parts: Parts, n: int, labels: Tensor | None = None, kept: Tensor | None = None, texts: Tensor | None = None
    ):
        """Args as above, and `kept`, which says which images' `features` are, the first ones by default."""
        self.parts, self.n, self.labels, self.texts = parts, n, labels, texts
        self._kept = torch.arange(min(n, KEPT)) if kept is None else kept[:KEPT]

    @classmethod
    def of(cls, features: Array, logits: Array | None = None, labels: Array | None = None) -> "Sample":
        """From arrays or tensors of any device."""
        first, second, third = (None if v is None else torch.as_tensor(v).detach().cpu() for v in (features, logits, labels))
        assert first is not None
        return cls(lambda: [Features(first, second)], len(first), third)

    @cached_property
    def dimensions(self) -> int:
        """D, the number of features."""
        return next(iter(self.parts())).features.shape[1]

    @cached_property
    def moments(self) -> Moments:
        """Of the features; for all metrics once."""
        moments = Moments(self.dimensions)
        for part in self.parts():
            moments.update(part.features)
        return moments

    @cached_property
    def features(self) -> Tensor:
        """Of the first images, KEPT at most (of images made elsewhere, of some at random): [min(N, KEPT), D]."""
        row, found, first = torch.full((self.n,), -1), torch.empty(len(self._kept), self.dimensions), 0
        row[self._kept] = torch.arange(len(self._kept))
        for part in self.parts():
            rows = row[first : first + len(part.features)]
            found[rows[rows >= 0]] = part.features[rows >= 0].float()
            first += len(rows)
        return found

    @cached_property
    def logits(self) -> Tensor | None:
        """Of all images, [N, K]."""
        found, first = torch.empty(0, 0), 0  # all at once beside them in parts would be twice as much
        for part in self.parts():
            if part.logits is None:
                return None
            found = found if first else torch.empty(self.n, part.logits.shape[1])
            found[first : first + len(part.logits)] = part.logits
            first += len(part.logits)
        return found

    def halves(self, seed: int) -> tuple[Moments, Moments]:
        """Moments of two halves of the images, drawn at random by a seed."""
        first, moments = 0, (Moments(self.dimensions), Moments(self.dimensions))
        side = torch.randperm(self.n, generator=torch.Generator().manual_seed(seed)) % 2
        for part in self.parts():
            own = side[first : first + len(part.features)]
            first += len(own)
            for k, half in enumerate(moments):
                half.update(part.features[own == k])
        return moments
