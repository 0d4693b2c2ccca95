"""Phase: what making images of latents takes, which is no part of sampling; of a teacher of latents alone."""

from collections.abc import Sequence
from statistics import median

import torch

from bench.instruments.clock import Elapsed
from bench.instruments.statistics import summarise
from bench.instruments.warm_up import warm_up
from bench.records.store import Store
from bench.runs.measurement import Measurement
from bench.runs.phase import Phase
from bench.runs.plan import Plan
from bench.runs.session import Session


class Decoding(Phase):
    """Fills `time.decode`: one image and one batch, as often as sampling is timed; the same for all cells, so measured once."""

    name = "decoding"

    def wanted(self, plan: Plan) -> bool:
        return plan.repetitions > 0

    @torch.no_grad()
    def run(self, cells: Sequence[Measurement], session: Session, store: Store) -> None:
        teacher, plan = session.teacher, session.plan
        if not teacher.latent or not cells:
            return
        latents, _ = session.inputs(range(plan.batch_size))

        def once(n: int) -> Elapsed:
            with session.executor.autocast():
                return session.executor.clock.time(lambda: teacher.decode(latents[:n]))[1]

        pairs: list[tuple[float, float]] = []

        def measure(m: Measurement) -> None:
            if not pairs:
                warm_up(lambda: once(1).seconds + once(plan.batch_size).seconds)
                pairs.extend((once(1).seconds, once(plan.batch_size).seconds) for _ in range(plan.repetitions))
            one, batch = (median(times) for times in zip(*pairs, strict=True))
            time = m.told["time"]
            m.tell(
                "time",
                decode={
                    "latency_ms": summarise([1e3 * seconds for seconds, _ in pairs]),
                    "images_per_s": summarise([plan.batch_size / seconds for _, seconds in pairs]),
                    "total_latency_ms": time["latency_ms"]["median"] + 1e3 * one,
                    "total_images_per_s": 1 / (1 / time["images_per_s"]["median"] + batch / plan.batch_size),
                },
            )

        for m in cells:
            m.attempt(measure)
