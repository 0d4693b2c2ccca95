"""A plan measured into a folder: what `bench run` does, as functions."""

import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.machine.device import resolve_device
from bench.records.caveats import disturbed
from bench.records.schema import Record
from bench.records.store import Store, threads_of
from bench.runs.cells import Cell
from bench.runs.cold_start import ColdStart
from bench.runs.converging import Converging
from bench.runs.counting import Counting
from bench.runs.decoding import Decoding
from bench.runs.energy import Energy
from bench.runs.exporting import Exporting
from bench.runs.generating import Generating, Others, keep_batch
from bench.runs.measurement import DeviceLostError, Measurement, Unusable
from bench.runs.objects import named
from bench.runs.overhead import Overhead
from bench.runs.phase import Phase
from bench.runs.plan import Plan, make_plan
from bench.runs.ranks import agree, in_turn, meet, meet_in, share
from bench.runs.record import record
from bench.runs.scoring import Scoring
from bench.runs.session import Session
from bench.runs.shards import Shard
from bench.runs.sweep import Sweep
from bench.runs.timing import Timing
from samplers.errors import UserError, one_line, unknown
from samplers.files import alone_in
from samplers.models.zoo import add_zoo
from samplers.plugin import use_file
from samplers.registry import HELD
from samplers.time_limit import TimeUpError
from samplers.world import World, told

if TYPE_CHECKING:
    import pandas as pd

FIRST: tuple[Phase, ...] = (Converging(),)
"""Phases before the progress bar knows its length."""
TOGETHER: tuple[Phase, ...] = (Counting(), ColdStart(), Timing(keep_batch), Decoding(), Overhead(), Sweep(), Energy())
"""Phases that measure all cells side by side, in this order."""
IMAGES, FILES, SCORES = Generating(), Exporting(), Scoring()
"""Phases of one cell after another, each of which then has its record: so the features of one cell alone lie on the disk."""


def folder_of(plan: Plan, out: str | Path | None = None, shard: Shard | None = None) -> Path:
    """The folder of a plan's run: `out`, or runs/RUN_ID, with its number where it is of a shard."""
    number = "" if shard is None else f"-{shard.index}of{shard.count}"
    return Path(out) if out is not None else Path("runs") / f"{plan.run_id()}{number}"


def run_plan(
    plan: Plan,
    folder: Path,
    *,
    quiet: bool = False,
    again: bool = False,
    shard: Shard | None = None,
    threads: int | None = None,
    labelled: bool = False,
) -> list[Record]:
    """Measure what `folder` does not hold yet of a plan, or of a shard of it, and return all its records.

    Ctrl-C loses the repetition in progress; calling it again goes on. Processes that torchrun started share the work.

    Args:
        plan: what to measure.
        folder: of the run.
        quiet: no progress.
        again: measure cells once more that failed, were skipped, or were timed while something disturbed them.
        shard: the part of the plan's cells to measure; None for all.
        threads: CPU threads where the plan leaves them open and the folder does not tell; None to choose them by measuring.
        labelled: whether labels were asked for by name, and not by the default, which a teacher without classes ignores.

    Raises:
        UserError: anything asked for that cannot be, or another process at work in the folder.
        KeyboardInterrupt: Ctrl-C; says how far it came.
    """
    begin = time.perf_counter()
    world = World.join(resolve_device(plan.device), gradients=False)
    with alone_in(folder):
        threads = threads_of(folder) or threads
        session = in_turn(world, lambda: Session(plan, quiet=quiet, threads=threads, world=world, shard=shard))
        agree(world, session)
        if labelled and not session.labelled:
            raise UserError(f"teacher '{session.teacher.name}' has no classes; leave out --labels")
        store = in_turn(world, lambda: Store(folder, plan.text_in(folder), session.identity()))
        done = {Cell.of(r) for r in store.records() if not again or (r.status == "ok" and not disturbed(r))}
        meet_in(folder, world)
        if done and session.teacher.sha256 is None:
            session.display.say(f"nothing tells whether teacher '{session.teacher.name}' is that of the records in {folder}")
        cells = [Measurement(c, session.samplers.get(c) or Unusable()) for c in session.cells if c not in done]
        for m in [m for m in cells if m.cell not in session.samplers]:
            m.skipped = m.cell in session.unready
            m.error = one_line((session.unready if m.skipped else session.broken)[m.cell], 600)
            if world.rank == 0:
                store.add(record(m, session))
            cells.remove(m)
        if cells and world.rank > 0:
            with redirect_stdout(sys.stderr):
                _follow(cells, session, store)
        elif cells:
            try:
                with session.display, redirect_stdout(sys.stderr):  # where what samplers print does not come between
                    _measure(cells, session, store)
            except DeviceLostError:
                kept = {Cell.of(r) for r in store.records()}
                for m in [m for m in cells if m.error is not None and m.cell not in kept]:
                    store.add(record(m, session))  # so that the next process goes on with the others
                raise
            except TimeUpError:
                raise
            except KeyboardInterrupt:
                at = f"{len(store.records())} of {len(session.cells)} records are in {folder}"
                raise KeyboardInterrupt(f"{at}; run the same command again to go on from here") from None
            finally:
                store.scratch.close()
                wall = time.perf_counter() - begin
                store.add_session(session.spent.row(len(cells), wall, session.executor.sampling_s))
        world.wait()
        return store.records()


def _measure(cells: Sequence[Measurement], session: Session, store: Store) -> None:
    """All phases of all cells; a cell that is done has its record at once."""
    first, together, apart = (
        [p for p in phases if p.wanted(session.plan)] for phases in (FIRST, TOGETHER, (IMAGES, FILES, SCORES))
    )

    def left(phases: Sequence[Phase]) -> int:
        return sum(p.cost(m, session, store) for p in phases for m in cells if m.error is None)

    session.display.now("converged solution")
    for phase in first:
        phase.run(cells, session, store)
    session.display.begin(left([*together, *apart]), len(cells))
    for phase in together:
        phase.run(cells, session, store)
    session.display.rest(left(apart))
    if session.world.size > 1:
        session.others = Others(cells, session, store).tell
    shared = share(cells, session)
    for m in session.display.each(cells, "images"):
        if m in shared:
            IMAGES.run([m], session, store)
            meet(m, session)
        for phase in apart[1:]:
            phase.run([m], session, store)
        store.add(record(m, session))
        session.display.cell_done()
    for phase in first:
        store.scratch.forget(phase.name)


def _follow(cells: Sequence[Measurement], session: Session, store: Store) -> None:
    """What each process but the first does: its share of the images, once the first has timed."""
    shared = share(cells, session)
    for phase in (p for p in FIRST if shared and p.wanted(session.plan)):
        phase.run(shared, session, store)
    for m in shared:
        IMAGES.run([m], session, store)
        meet(m, session)


def run_anywhere(plan: Plan, folder: Path, shard: Shard | None, on: str | None, **how: bool) -> list[Record]:
    """As `run_plan`, here or `on` "ray"; how: its quiet, again and labelled.

    Raises:
        UserError: as that, another place, or a shard or several processes on a cluster.
    """
    if on is None:
        return run_plan(plan, folder, shard=shard, **how)
    if on != "ray":
        raise unknown("place to run on", on, ["ray"])
    if how.get("again"):
        raise UserError("--again is for a run of one machine; leave out --on")
    if shard is not None:
        raise UserError("--shard and --on ray are both given, and each spreads the cells; leave out one")
    if told("WORLD_SIZE", 1, low=1) > 1:
        raise UserError("--on ray spreads the cells itself; start it without torchrun, or leave it out")
    from bench.runs.on_ray import run_on_ray

    return run_on_ray(plan, folder, quiet=how.get("quiet", False))


def run(
    *,
    out: str | Path | None = None,
    plan: str | Path | None = None,
    tuned: str | Path | None = None,
    zoo: str | Path | Sequence[str | Path] = (),
    plugin: str | Path | Sequence[str | Path] = (),
    shard: str | None = None,
    on: Literal["ray"] | None = None,
    quiet: bool = False,
    again: bool = False,
    **options: Any,
) -> "pd.DataFrame":
    """Measure a plan and return its records, one row a cell.

    The teacher, its guide and samplers may be objects (a `Denoiser`, a `Sampler` or a class of such); records call them
    MODULE:QUALNAME.

    Args:
        out: the run's folder; runs/RUN_ID where None. A folder with part of this plan is gone on with.
        plan: a YAML file with fields of `bench.runs.plan.Plan`, or the name of one that ships.
        tuned: `tuned.yaml` of `bench tune`, for a plan with samplers "tuned".
        zoo: folders of trainings whose cards count as shipped.
        plugin: files of samplers to use without installing them.
        quiet: no progress.
        again: measure cells once more that failed, were skipped, or were timed while something disturbed them.
        shard: "I/N", to measure the I-th of N parts of the plan's cells alone; `bench.merge` makes one run of all.
        on: "ray", to spread the cells over the workers of a Ray cluster.
        **options: fields of `Plan`, over those of the file.

    Raises:
        samplers.UserError: anything asked for that cannot be.
    """
    from bench.records.frame import load_records

    for trained in [zoo] if isinstance(zoo, str | Path) else zoo:
        add_zoo(Path(trained))
    for file in [plugin] if isinstance(plugin, str | Path) else plugin:
        use_file(Path(file))
    known = len(HELD)
    with named(options) as told:
        if on is not None and len(HELD) > known:
            raise UserError("other processes have no objects of this one; name teacher and samplers, or leave out on")
        full = make_plan(plan, tuned=None if tuned is None else Path(tuned), **told)
        part = None if shard is None else Shard.parse(shard)
        folder = folder_of(full, out, part)
        run_anywhere(full, folder, part, on, quiet=quiet, again=again, labelled=options.get("labels") == "balanced")
    return load_records([folder])
