"""Phase: what one pass of one image does, counted in mode eager; and the path, where one call decodes a whole one."""

import torch
from torch import Tensor

from bench.instruments.meter import flops
from bench.instruments.operations import Operations
from bench.quality.images import to_uint8
from bench.quality.trajectory import true_path
from bench.records.store import Store
from bench.runs.measurement import Measurement
from bench.runs.phase import Phase
from bench.runs.session import Session

PATHS = 4
"""Noises whose decoded paths are kept of a sampler that decodes them."""


class Counting(Phase):
    """Fills the record's `counted`, and `path`. It takes a moment, so an interrupted run counts again."""

    name = "counting"

    def cost(self, m: Measurement, session: Session, store: Store) -> int:
        return m.card.calls(m.cell.steps)

    def measure(self, m: Measurement, session: Session, store: Store) -> None:
        executor, steps = session.executor, m.cell.steps
        count = executor.metered(m, range(1)).count
        z, labels = session.inputs(range(1))
        work = flops(m.sampler.sample, session.teacher, z, steps=steps, labels=labels)
        with torch.no_grad(), executor.autocast(), Operations() as operations:
            m.sampler.sample(session.teacher, z, steps=steps, labels=labels)
        m.tell(
            "counted",
            calls=count.calls,
            forwards=count.forwards,
            flops_per_image=work,
            # A teacher that is no network has no FLOPs, but calls.
            teacher_equivalents=round(work / session.teacher_flops, 4) if session.teacher_flops else float(count.calls),
            synchronisations=operations.synchronisations,
        )
        if m.sampler.networks():
            self._keep_path(m, session, store)

    @torch.no_grad()
    def _keep_path(self, m: Measurement, session: Session, store: Store) -> None:
        """Where one call decodes a whole path (a callback told more often than there were calls): it, beside the true one."""
        z, labels = session.inputs(range(min(PATHS, session.plan.images)))
        levels: list[float] = []
        decoded: list[Tensor] = []

        def keep(_: int, sigma: float, __: Tensor, denoised: Tensor) -> None:
            levels.append(sigma)
            decoded.append(denoised)

        m.sampler.sample(session.teacher, z, steps=m.cell.steps, labels=labels, callback=keep)
        if len(levels) <= m.told["counted"]["calls"]:
            return
        true = true_path(session.teacher, z, labels, levels)
        rows = torch.stack([torch.stack(decoded, dim=1), true], dim=1).flatten(0, 1)  # [2 B, L, C, H, W]
        store.save_grid(f"{m.cell.id}.path", to_uint8(rows).cpu().numpy())
        m.tell("path", sigmas=levels, noises=len(z))
