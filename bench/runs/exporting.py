"""Phase: a cell's images as files for other programs."""

import numpy as np

from bench.records.images import write_folder, write_npz
from bench.records.store import Store
from bench.runs.generating import kept
from bench.runs.measurement import Measurement
from bench.runs.phase import Phase
from bench.runs.plan import Plan
from bench.runs.session import Session


class Exporting(Phase):
    """Writes `images/CELL/` or `images/CELL.npz` of what generating kept; a folder or file that is there is written again."""

    name = "exporting"

    def wanted(self, plan: Plan) -> bool:
        return plan.save_images is not None

    def measure(self, m: Measurement, session: Session, store: Store) -> None:
        plan, folder = session.plan, store.folder / "images"
        pixels = (found["pixels"] for found in kept(m, session, store, {"pixels"}))
        labels = np.arange(plan.images) % session.teacher.num_classes if session.labelled else None
        if plan.save_images == "png":
            write_folder(folder / m.cell.id, pixels, labels)
        else:
            write_npz(folder / f"{m.cell.id}.npz", pixels, plan.images, labels)
