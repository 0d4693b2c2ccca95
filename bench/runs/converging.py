"""Phase: the converged solution of the plan's ODE, which deterministic samplers' images are held against."""

from collections.abc import Sequence

from bench.quality.images import pictures
from bench.quality.trajectory import converged
from bench.records.store import Store
from bench.runs.generating import ROW
from bench.runs.measurement import Measurement
from bench.runs.phase import Phase
from bench.runs.plan import Plan
from bench.runs.session import Session
from samplers.cache import cache_folder


class Converging(Phase):
    """Solves it, or takes it from the cache, and keeps its first images as a picture.

    That of a teacher without a hash is kept while the run lasts.
    """

    name = "converging"

    def wanted(self, plan: Plan) -> bool:
        return plan.trajectory_images > 0

    def run(self, cells: Sequence[Measurement], session: Session, store: Store) -> None:
        z, labels = session.inputs(range(session.plan.trajectory_images))
        cache = cache_folder() if session.teacher.sha256 is not None else store.scratch.folder / self.name
        session.converged, seconds = converged(session.teacher, z, labels, session.plan.seed, session.display.advance, cache)
        session.executor.sampling_s += seconds
        if session.teacher.image_shape is not None and session.world.rank == 0:
            store.save_row("reference", pictures(session.teacher, session.converged.images[:ROW]).cpu().numpy())
