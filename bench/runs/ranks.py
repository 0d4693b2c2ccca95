"""One run in several processes, as torchrun starts them: all make images, the first alone times, scores and writes.

They share a folder; what one keeps there, batches of images as features, the first one finds. So a run may go on with as many
processes as there are.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from bench.machine.environment import code
from bench.runs.generating import batches
from bench.runs.measurement import Measurement
from bench.runs.session import Session
from samplers.errors import UserError
from samplers.plugin import used_files
from samplers.world import World

T = TypeVar("T")


def in_turn(world: World, make: Callable[[], T]) -> T:
    """What `make` gives in each process, first in the first, so that the others find what it caches.

    Raises:
        UserError: the first process's, where `make` raised one in any; the others end.
    """
    if world.size == 1:
        return make()
    made, error = None, None
    for first in (True, False):
        if (world.rank == 0) is first and error is None:
            try:
                made = make()
            except UserError as e:
                error = str(e)
        error = _first_error(world, error)
    return _result(world, made, error)


def agree(world: World, session: Session) -> None:
    """Refuse processes that do not do the same work, or more than there is work for, before anything is written.

    Raises:
        UserError: of another plan, code, `--plugin` files, teacher or machine; more than batches.
    """
    plugins = [hashlib.sha256(file.read_bytes()).hexdigest() for file in used_files()]
    told = {"plan": session.plan.hashed(), "code": code(), "plug-in": plugins, **session.identity()}
    world.agree(told, "start all alike")
    if world.size > (most := len(batches(session))):
        _result(
            world, None, f"{world.size} processes for {most} batches of images; start at most {most}, or lower --batch-size"
        )


def meet_in(folder: Path, world: World) -> None:
    """Refuse processes that do not see the folder that the first one has made.

    Raises:
        UserError: one does not.
    """
    world.agree({"folder": (folder / "plan.yaml").exists()}, "name one by --out that all share")


def share(cells: Sequence[Measurement], session: Session) -> list[Measurement]:
    """The cells whose images all processes make: those that the first process has counted, and what it has told of them."""
    counted = {m.cell.id: m.told.get("counted") for m in cells if m.error is None}
    counted = session.world.gather(counted)[0]
    mine = [m for m in cells if m.cell.id in counted]
    for m in mine:
        m.tell("counted", **counted[m.cell.id])
    return mine


def meet(m: Measurement, session: Session) -> None:
    """Wait until all have made their images of a cell, whose error is the first that one had."""
    session.world.wait(lambda: session.others(m))
    session.others(m)
    m.error = _first_error(session.world, m.error)


def _first_error(world: World, error: str | None) -> str | None:
    return next((e for e in world.gather(error) if e is not None), None)


def _result(world: World, made: T | None, error: str | None) -> T:
    if error is None:
        assert made is not None
        return made
    if world.rank == 0:
        raise UserError(error)
    raise SystemExit(2)
