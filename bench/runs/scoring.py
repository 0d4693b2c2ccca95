"""Phase: the metrics of a cell's images."""

from typing import Any

import numpy as np

from bench.quality.metrics import Sample, label_agreement, score
from bench.quality.trajectory import relative_rmse
from bench.records.ranking import FRECHET
from bench.records.store import Store
from bench.runs.generating import batches, fill
from bench.runs.measurement import Measurement
from bench.runs.phase import Phase
from bench.runs.session import Session


class Scoring(Phase):
    """Fills the record's `quality` from what generating kept."""

    name = "scoring"

    def measure(self, m: Measurement, session: Session, store: Store) -> None:
        plan, kept = session.plan, _kept(m, session, store)
        error = kept.pop("error", None)
        if error is not None and not np.isfinite(error).all():
            raise FloatingPointError("images are too far from the converged solution for a finite error")
        if session.labelled and plan.prompts is None:
            kept["labels"] = np.arange(plan.images) % session.teacher.num_classes
        quality: dict[str, Any] = {}
        extractor, real = session.extractor, session.real
        seen = None if extractor is None else Sample.of(**kept)
        if seen is not None and extractor is not None and real is not None:
            found, influences = score(seen, extractor, real, plan.scores, plan.seed)
            quality |= found
            ranked = session.rank_by["metric"] if session.rank_by else FRECHET.metric
            if ranked in influences:  # of another metric they would tell nothing about ties
                store.save_influence(m.cell.id, influences[ranked])
        if error is not None and session.converged is not None:
            quality["trajectory_error"] = relative_rmse(error, session.converged)
        same = extractor is not None and extractor.classes == session.teacher.num_classes  # Inception's classes are its own
        if same and seen is not None and extractor is not None and seen.labels is not None and seen.logits is not None:
            quality["label_agreement"] = label_agreement(seen.logits, seen.labels, extractor)
        m.tell("quality", **quality)


def _kept(m: Measurement, session: Session, store: Store) -> dict[str, np.ndarray]:
    """Features, logits and errors of all images of a cell, as far as there are any; batches damaged since are made again."""
    numbers = batches(session)
    found = [store.scratch.batch(m.cell.id, k) for k in numbers]
    if None in found:
        fill(m, session, store)
        found = [store.scratch.batch(m.cell.id, k) for k in numbers]
    parts = [part for part in found if part is not None]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
