"""Images that were made elsewhere, scored by the code that scores a run's."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.quality.extractor import Features, features_of, load_extractor
from bench.quality.metrics import LOGITS, Entry, check_metrics, check_needs, compares_features, load_metric, score
from bench.quality.pictures import Pictures, open_pictures
from bench.quality.reference import Reference, find_reference
from bench.quality.sample import Sample
from bench.quality.settings import ScoreSettings
from samplers.cache import cache_folder
from samplers.errors import UserError

ROUNDING = "as in the files"
"""How images that were made elsewhere came to 8 bits."""
ROWS = 1024
"""Features read back at a time."""


PARTS = ("loading", "reference", "reading", "extractor", "keeping", "metrics")
"""What scoring takes its time for: loading the extractor; the reference, made or from the cache; waiting for the next images,
which are read while others are worked on; the extractor's network, its resize included; writing features; the metrics."""


class Scored(NamedTuple):
    """The images, what they were compared with, the scores by name ("fid_inception"), as a record has them, and what it took.

    `seconds` has those of each of `PARTS`, of the host's clock.
    """

    images: Pictures
    reference: Reference
    quality: dict[str, Entry]
    seconds: dict[str, float]

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        told = {"name": self.images.name, "sha256": self.images.sha256, "n": self.images.n, "shape": list(self.images.shape)}
        return {"images": told, "quality": self.quality, "seconds": {k: round(s, 3) for k, s in self.seconds.items()}}


class Stopwatch:
    """Seconds by part; a part that ends in a device's work has to wait for it."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """The block is of a part."""
        begin = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - begin

    def each(self, part: str, items: Iterator[Tensor]) -> Iterator[Tensor]:
        """Items, whose making is of a part."""
        while True:
            with self(part):
                item = next(items, None)
            if item is None:
                return
            yield item


def score_images(
    images: str, settings: ScoreSettings, device: torch.device, now: Callable[[str], None] = lambda _: None
) -> Scored:
    """Score the images that a text names, as `open_pictures` takes it; their features lie on the disk meanwhile.

    Args:
        images: a folder, zip, npz or data set.
        settings: how.
        device: of the extractor's network.
        now: is told what is done.

    Raises:
        UserError: images, extractor, reference or metrics that are not there or do not fit each other.
    """
    watch = Stopwatch()
    now(f"reading {images}")
    with watch("reading"):
        pictures = open_pictures(images)
    check_metrics(settings.metrics, pictures.n)
    with watch("loading"):
        extractor = load_extractor(settings.extractor, settings.inception_weights)
        features_of(extractor, pictures.read(0, 1).to(device))  # refuses a shape that it does not take
    needed = compares_features(settings.metrics)
    with watch("reference"):
        reference = find_reference(extractor, device, settings.reference, features=needed, now=now)
    check_needs(settings.metrics, extractor, reference, False, pictures.n)
    logits = any(LOGITS in load_metric(name).needs for name in settings.metrics)
    done = 0
    with ExitStack() as stack:
        kept = [stack.enter_context(Spool()) for _ in range(1 + logits)]
        for batch in watch.each("reading", pictures.batches(settings.batch_size)):
            with watch("extractor"):
                seen = features_of(extractor, batch.to(device))  # waits for the device: it looks whether they are finite
            with watch("keeping"):
                for spool, rows in zip(kept, seen, strict=False):
                    assert rows is not None  # `check_needs` asked for them
                    spool.add(rows)
            done += len(batch)
            now(f"scoring {done:,} of {pictures.n:,} images")

        def parts() -> Iterator[Features]:
            return (Features(*rows) for rows in zip(*(spool.parts() for spool in kept), strict=True))

        order = torch.randperm(pictures.n, generator=torch.Generator().manual_seed(0))  # files may lie by class
        sample = Sample(parts, pictures.n, kept=order)
        with watch("metrics"):
            quality = score(sample, extractor, reference, settings.metrics, settings.seed).quality
    scores = {name: {**entry, "rounding": ROUNDING} for name, entry in quality.items()}
    return Scored(pictures, reference, scores, watch.seconds)


class Spool:
    """Rows of float32 in a file without a name, written once and read as often as wanted."""

    def __init__(self) -> None:
        try:
            cache_folder().mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = tempfile.TemporaryFile(dir=cache_folder())  # noqa: SIM115 (closed at the end)
        except OSError as e:
            raise UserError(f"cannot write to {cache_folder()} ({e.strerror}); name another folder by BENCH_CACHE") from e
        self._width = 0

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, rows: Tensor) -> None:
        """Add rows [B, D], of the same D as those before."""
        self._width = rows.shape[1]
        try:
            self._file.write(rows.float().cpu().numpy().tobytes())
        except OSError as e:
            raise UserError(f"cannot write to {cache_folder()} ({e.strerror}); free some space") from e

    def parts(self) -> Iterator[Tensor]:
        """All rows in order, in pieces [ROWS, D]."""
        size, at = 4 * ROWS * self._width, 0
        while True:
            self._file.seek(at)
            piece = self._file.read(size)
            at += len(piece)
            if not piece:
                return
            yield torch.from_numpy(np.frombuffer(piece, np.float32).reshape(-1, self._width).copy())
