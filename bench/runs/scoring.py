"""Phase: the metrics of a cell's images."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from bench.quality.extractor import Features
from bench.quality.metrics import label_agreement, score
from bench.quality.sample import Sample
from bench.quality.trajectory import relative_rmse
from bench.records.ranking import FRECHET
from bench.records.store import Store
from bench.runs.generating import kept
from bench.runs.measurement import Measurement
from bench.runs.phase import Phase
from bench.runs.session import Session


class Scoring(Phase):
    """Fills the record's `quality` from what generating kept."""

    name = "scoring"

    def measure(self, m: Measurement, session: Session, store: Store) -> None:
        with session.spent.metrics.on(1):
            self._score(m, session, store)

    def _score(self, m: Measurement, session: Session, store: Store) -> None:
        plan, error = session.plan, _errors(m, session, store)
        if error is not None and not np.isfinite(error).all():
            raise FloatingPointError("images are too far from the converged solution for a finite error")
        quality: dict[str, Any] = {}
        extractor, real = session.extractor, session.real
        seen = None if extractor is None else _sample(m, session, store)
        if seen is not None and extractor is not None and real is not None:
            found, influences = score(seen, extractor, real, plan.scores, plan.seed)
            quality |= found
            ranked = session.rank_by["metric"] if session.rank_by else FRECHET.metric
            if ranked in influences:  # of another metric they would tell nothing about ties
                store.save_influence(m.cell.id, influences[ranked])
        if error is not None and session.converged is not None:
            quality["trajectory_error"] = relative_rmse(error, session.converged)
            store.save_errors(m.cell.id, error)
        same = extractor is not None and extractor.classes == session.teacher.num_classes  # Inception's classes are its own
        if same and seen is not None and extractor is not None and seen.labels is not None and seen.logits is not None:
            quality["label_agreement"] = label_agreement(seen.logits, seen.labels, extractor)
        m.tell("quality", **quality)


def _errors(m: Measurement, session: Session, store: Store) -> np.ndarray | None:
    """Squared errors of the images that have a converged one."""
    parts = [found["error"] for found in kept(m, session, store, {"error"}) if found]
    return np.concatenate(parts) if parts else None


def _sample(m: Measurement, session: Session, store: Store) -> Sample:
    """The cell's images as the extractor saw them."""
    plan = session.plan
    classes = session.teacher.num_classes if session.labelled and plan.prompts is None else 0

    def parts() -> Iterator[Features]:
        for found in kept(m, session, store, Features._fields):
            yield Features(**{k: torch.from_numpy(v) for k, v in found.items()})

    return Sample(parts, plan.images, torch.arange(plan.images) % classes if classes else None, texts=session.texts)
