"""Phase: what one pass of one image does, counted in mode eager; and the path, where one call decodes a whole one."""

import torch
from pydantic import BaseModel
from torch import Tensor

from bench.quality.images import pictures
from bench.quality.trajectory import true_path
from bench.records.schema import Counted, DecodedPath
from bench.records.store import Store
from bench.runs.measurement import Measurement
from bench.runs.phase import Phase
from bench.runs.session import Session
from samplers.errors import PluginError, defined
from samplers.flops import flops
from samplers.operations import Operations

PATHS = 4
"""Noises whose decoded paths are kept of a sampler that decodes them."""


def _mismatch(m: Measurement, claimed: int, counted: int) -> PluginError:
    """That another count than the card's fails a cell, and what its author must do."""
    where = defined(type(m.sampler))
    return PluginError(
        f"claimed {claimed} calls for {m.cell.steps} steps, counted {counted}{where and f', {where}'}; networks() must return "
        "each network that it calls (as a module: its forward() is not seen), and its card's calls say how often"
    )


class Counts(BaseModel):
    """What was counted of a cell, and the path that its call decodes, if it does."""

    counted: Counted
    path: DecodedPath | None = None


class Counting(Phase):
    """Fills the record's `counted`, and `path`."""

    name = "counting"

    def cost(self, m: Measurement, session: Session, store: Store) -> int:
        return 0 if store.scratch.rows(m.cell.id, self.name, Counts) else m.card.calls(m.cell.steps)

    def measure(self, m: Measurement, session: Session, store: Store) -> None:
        kept = store.scratch.rows(m.cell.id, self.name, Counts)
        if not kept:
            self._count(m, session)
            if m.sampler.networks():
                self._keep_path(m, session, store)
            store.scratch.append(m.cell.id, self.name, Counts.model_validate(m.told))
            return
        m.tell("counted", **kept[0].counted.model_dump())
        if kept[0].path is not None:
            m.tell("path", **kept[0].path.model_dump())

    def _count(self, m: Measurement, session: Session) -> None:
        executor, claimed = session.executor, m.card.calls(m.cell.steps)
        count = executor.metered(m, range(1)).count
        if count.asked != claimed:
            raise _mismatch(m, claimed, count.asked)
        z, labels = session.inputs(range(1))
        with executor.patience(m, 1):
            work = flops(executor.call, m, session.teacher, z, labels)
        with executor.patience(m, 1), torch.no_grad(), executor.autocast(), Operations() as operations:
            executor.call(m, session.teacher, z, labels)
        m.tell(
            "counted",
            calls=count.calls,
            forwards=count.forwards,
            flops_per_image=work,
            # A teacher that is no network has no FLOPs, but calls.
            teacher_equivalents=round(work / session.teacher_flops, 4) if session.teacher_flops else float(count.calls),
            synchronisations=operations.synchronisations,
        )

    @torch.no_grad()
    def _keep_path(self, m: Measurement, session: Session, store: Store) -> None:
        """Where one call decodes a whole path (a callback told more often than there were calls): it, beside the true one."""
        z, labels = session.inputs(range(min(PATHS, session.plan.images)))
        levels: list[float] = []
        decoded: list[Tensor] = []

        def keep(_: int, sigma: float, __: Tensor, denoised: Tensor) -> None:
            levels.append(sigma)
            decoded.append(denoised)

        with session.executor.patience(m, len(z)):
            session.executor.call(m, session.teacher, z, labels, callback=keep)
        if len(levels) <= m.told["counted"]["calls"]:
            return
        true = true_path(session.teacher, z, labels, levels)
        rows = torch.stack([torch.stack(decoded, dim=1), true], dim=1).flatten(0, 1)  # [2 B, L, C, H, W]
        if session.teacher.image_shape is not None:
            store.save_grid(f"{m.cell.id}.path", pictures(session.teacher, rows).cpu().numpy())
        m.tell("path", sigmas=levels, noises=len(z))
