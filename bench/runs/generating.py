"""Phase: the images that are scored, kept as what scoring needs of them; timing hands its batches to the same sink."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from torch import Tensor

from bench.quality.extractor import features_of
from bench.quality.images import pictures
from bench.records.store import Store
from bench.runs.measurement import Measurement
from bench.runs.phase import Phase
from bench.runs.session import Session
from samplers.time_limit import stop_in_time

ROW = 10
"""Images kept of each cell for the report's grid."""


def keep_batch(m: Measurement, k: int, images: Tensor, session: Session, store: Store) -> None:
    """Keep batch k: features, logits, pixels where they are saved, squared errors; of the first one a picture too."""
    arrays = {}
    shown = k == 0 and session.teacher.image_shape is not None
    if session.extractor is not None or shown or session.plan.save_images:
        pixels = pictures(session.teacher, images)
    if session.extractor is not None:
        with session.spent.features.on(len(images)):
            seen = features_of(session.extractor, pixels)
            arrays = {name: v.cpu().numpy() for name, v in seen._asdict().items() if v is not None}
    if session.plan.save_images:
        arrays["pixels"] = pixels.cpu().numpy()
    if session.converged is not None and m.deterministic:
        arrays["error"] = session.converged.squared_error(images, k * session.plan.batch_size)
    store.scratch.save_batch(m.cell.id, k, arrays)
    if shown:
        store.save_row(m.cell.id, pixels[:ROW].cpu().numpy())


def batches(session: Session) -> range:
    """Numbers of a cell's batches; where none is scored or saved, of those held against the converged solution or shown."""
    plan = session.plan
    whole = session.extractor is not None or plan.save_images is not None
    images = plan.images if whole else min(plan.images, max(plan.trajectory_images, 1))
    return range(-(-images // plan.batch_size))


def share(session: Session) -> range:
    """Those that this process makes where several do."""
    return batches(session)[session.world.rank :: session.world.size]


class Others:
    """What the other processes keep of cells, for the bar, which the first one has for all; made before they begin."""

    def __init__(self, cells: Sequence[Measurement], session: Session, store: Store):
        self._session, self._store = session, store
        self._told = {m.cell.id: self._kept(m) for m in cells}

    def _kept(self, m: Measurement) -> int:
        own = share(self._session)
        return sum(k not in own and self._store.scratch.has_batch(m.cell.id, k) for k in batches(self._session))

    def tell(self, m: Measurement) -> None:
        """Move the bar by what has come of a cell since it was last moved."""
        found = self._kept(m)
        images = (found - self._told[m.cell.id]) * self._session.plan.batch_size
        self._session.display.advance(m.told["counted"]["forwards"] * images)
        self._told[m.cell.id] = found


def fill(m: Measurement, numbers: range, session: Session, store: Store) -> None:
    """Make and keep the batches that are not there."""
    size, images = session.plan.batch_size, session.plan.images
    session.executor.ready(m, size)
    spent, rest = session.spent, session.spent.rest
    for k in numbers:
        if store.scratch.has_batch(m.cell.id, k):
            continue
        start, end = k * size, min((k + 1) * size, images)
        made = range(start, end if m.cell.mode == "eager" else start + size)
        told = session.executor.sampling_s + spent.features.seconds
        with rest.on(end - start):
            keep_batch(m, k, session.executor.sample(m, made).images[: end - start], session, store)
        rest.seconds -= session.executor.sampling_s + spent.features.seconds - told
        session.others(m)
        stop_in_time()


def kept(m: Measurement, session: Session, store: Store, only: Collection[str]) -> Iterator[dict[str, np.ndarray]]:
    """What was kept of all batches, arrays of some names, one after the other; those damaged since are made again."""
    for k in batches(session):
        if (found := store.scratch.batch(m.cell.id, k, only)) is None:
            fill(m, batches(session), session, store)
            found = store.scratch.batch(m.cell.id, k, only)
        assert found is not None
        yield found


class Generating(Phase):
    """Makes the batches that timing did not; a mode knows whole ones only, of which the last keeps a part."""

    name = "generating"

    def cost(self, m: Measurement, session: Session, store: Store) -> int:
        p = session.plan
        left = sum(not store.scratch.has_batch(m.cell.id, k) for k in batches(session))
        return m.card.calls(m.cell.steps) * min(left * p.batch_size, p.images)

    def measure(self, m: Measurement, session: Session, store: Store) -> None:
        fill(m, share(session), session, store)
