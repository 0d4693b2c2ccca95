"""The command line: each command parses its flags and calls the Python function that does the work."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from samplers.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Compare fast samplers of a diffusion model.",
)
console = Console()
TRAINING = Path("training")
"""Where 'bench train' writes."""

Names = Annotated[str | None, typer.Option(help="comma-separated; see 'bench list'")]
Zoo = Annotated[list[Path] | None, typer.Option(help="folder of trainings whose cards count as shipped; repeatable")]
Numbers = Annotated[str | None, typer.Option(help="comma-separated whole numbers")]


def _listed(text: str | None, kind: type = str) -> list | None:
    """A comma-separated flag as a list.

    Raises:
        UserError: an item of another kind.
    """
    if text is None:
        return None
    try:
        return [kind(item.strip()) for item in text.split(",") if item.strip()]
    except ValueError as e:
        raise UserError(f"'{text}' is not a comma-separated list of whole numbers") from e


def _add(folders: list[Path] | None) -> None:
    """Make the cards in `folders` known."""
    from samplers.teacher import add_zoo

    for folder in folders or ():
        add_zoo(folder)


@app.command()
def run(
    samplers: Names = None,
    teacher: Annotated[str | None, typer.Option(help="name in the zoo, or path of a card (.json)")] = None,
    calls: Annotated[str | None, typer.Option(help="budgets of network calls, comma-separated")] = None,
    steps: Annotated[str | None, typer.Option(help="step counts instead of budgets, comma-separated")] = None,
    grid: Annotated[str | None, typer.Option(help="time grid for every solver: uniform_t, quadratic, logsnr, karras")] = None,
    images: Annotated[int | None, typer.Option(help="images scored per cell")] = None,
    trajectory_images: Annotated[int | None, typer.Option(help="of them, compared with the converged solution")] = None,
    batch_size: Annotated[int | None, typer.Option(help="images per call of a sampler")] = None,
    seed: Annotated[int | None, typer.Option(help="of the noises")] = None,
    labels: Annotated[str | None, typer.Option(help="balanced or none")] = None,
    metrics: Annotated[str | None, typer.Option(help="comma-separated: fd, kid, prc, isc")] = None,
    extractor: Annotated[str | None, typer.Option(help="feature extractor; default: the one of the teacher's data")] = None,
    repetitions: Annotated[int | None, typer.Option(help="timed repetitions per cell")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads, 0 for all")] = None,
    plan: Annotated[Path | None, typer.Option(help="YAML file with these flags as keys, or a shipped plan (cifar10)")] = None,
    out: Annotated[Path | None, typer.Option(help="the run's folder; default runs/RUN_ID")] = None,
    zoo: Zoo = None,
    report: Annotated[bool, typer.Option(help="write the report at the end")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress bar")] = False,
) -> None:
    """Measure samplers: quality, calls, work, time. Resumes what was interrupted; renders the report."""
    import bench
    from bench.report import write_report

    _add(zoo)
    given: dict[str, Any] = {
        "samplers": _listed(samplers),
        "teacher": teacher,
        "calls": _listed(calls, int),
        "steps": _listed(steps, int),
        "grid": grid,
        "images": images,
        "trajectory_images": trajectory_images,
        "batch_size": batch_size,
        "seed": seed,
        "labels": labels,
        "metrics": _listed(metrics),
        "extractor": extractor,
        "repetitions": repetitions,
        "precision": precision,
        "device": device,
        "threads": threads,
    }
    full = bench.make_plan(plan, **{k: v for k, v in given.items() if v is not None})
    folder = bench.folder_of(full, out)
    records = bench.run_plan(full, folder, quiet=quiet)
    console.print(f"{len(records)} records in {folder / 'records.jsonl'}")
    if report:
        console.print(f"report: {write_report([folder])}")
    failed = [r for r in records if r["status"] == "failed"]
    for r in failed:
        console.print(f"failed: {r['cell']}: {r['error']}", style="red")


@app.command(name="list")
def list_() -> None:
    """Samplers, teachers, extractors and metrics, with their cards."""
    from bench.listing import show

    show(console)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="folders that 'bench run' made; several are merged")],
    out: Annotated[Path | None, typer.Option(help="folder for the report; default: report/ in the first run")] = None,
) -> None:
    """Tables and figures again, from records alone."""
    from bench.report import write_report

    console.print(f"report: {write_report(runs, out)}")


@app.command()
def train(
    what: Annotated[str, typer.Argument(help="teacher, extractor, or what a plug-in adds")],
    recipe: Annotated[str, typer.Option(help="a shipped recipe's name, or a YAML file")] = "mnist32",
    data: Annotated[
        Path | None, typer.Option(help="folder of what it learns from; default data, for dsno training/RECIPE-trajectories")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for checkpoint, log, card and weights; default training/RECIPE-WHAT")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    zoo: Zoo = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress bar")] = False,
) -> None:
    """Train by a recipe, or resume; ends with a card and its weights."""
    from importlib.metadata import entry_points

    from bench.environment import resolve_device
    from samplers.errors import unknown

    trainers = {e.name: e for e in entry_points(group="bench.trainers")}
    if what not in trainers:
        raise unknown("thing to train", what, trainers)
    if zoo is None and TRAINING.is_dir():
        zoo = [TRAINING]  # a recipe's students learn from its teacher, trained before
    _add(zoo)
    folder = out or TRAINING / f"{Path(recipe).stem}-{what}"
    card = trainers[what].load()(recipe, data, folder, device=resolve_device(device), quiet=quiet)
    console.print(f"card: {card}")


@app.command()
def profile(
    sampler: Annotated[str, typer.Argument(help="a trained sampler, with options: dsno, dsno:form=fft")] = "dsno",
    teacher: Annotated[str, typer.Option(help="name in the zoo, or path of a card (.json)")] = "mnist32",
    mode: Annotated[str, typer.Option(help="eager, compile or graph (CUDA)")] = "eager",
    batch_sizes: Annotated[str, typer.Option(help="comma-separated, increasing")] = "1,2,4,8,16,32,64",
    repetitions: Annotated[int, typer.Option(help="timed passes of each")] = 20,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads, 0 for all")] = 0,
    seed: Annotated[int, typer.Option(help="of the noises")] = 0,
    zoo: Zoo = None,
    trace: Annotated[bool, typer.Option("--trace", help="write a Chrome trace of one pass too")] = False,
    out: Annotated[Path | None, typer.Option(help="folder; default runs/profile-SAMPLER-MODE")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress")] = False,
) -> None:
    """Where one pass of a trained sampler spends its time, and what it costs in teacher forwards."""
    from bench.environment import resolve_device
    from bench.profile_page import write_profile
    from bench.profiling import Profiler, Setting

    _add(zoo)
    sizes = tuple(_listed(batch_sizes, int) or ())
    setting = Setting(sampler, teacher, mode, sizes, repetitions, threads, seed)
    profiler = Profiler(setting, resolve_device(device))
    folder = out or Path("runs") / f"profile-{sampler.replace(':', '_').replace('/', '_')}-{mode}"
    with console.status("profiling", spinner="dots") as status:
        result = profiler.measure((lambda _: None) if quiet else (lambda what: status.update(f"profiling: {what}")))
        written = write_profile(result, folder)
        if trace:
            profiler.trace(folder / "trace.json", sizes[-1])
    console.print(f"profile: {written}")


@app.command()
def campaign(
    recipe: Annotated[str, typer.Option(help="a shipped recipe's name, or a YAML file, with a section campaign")],
    data: Annotated[Path, typer.Option(help="folder of the recipe's data files")] = Path("data"),
    out: Annotated[Path | None, typer.Option(help="folder of the work; default runs/campaign-RECIPE")] = None,
    seconds: Annotated[float, typer.Option("--slice", help="seconds to work before it stops")] = 480.0,
    home: Annotated[Path | None, typer.Option("--from", help="folder of the parts that came home; may be empty yet")] = None,
    export: Annotated[Path | None, typer.Option(help="folder for the parts that go home; default OUT/export")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress bar")] = False,
) -> None:
    """A whole study, train to profile, in slices of time on machines that may be taken away; call it until all is done."""
    from bench.campaign import NEEDS, Campaign
    from bench.environment import resolve_device

    folder = out or Path("runs") / f"campaign-{Path(recipe).stem}"
    work = Campaign(recipe, data, folder, resolve_device(device), export, quiet)
    if home is not None:
        work.start_from(home)
    finished = work.run(seconds)
    after = "all is done" if finished else f"{work.next()} is next; the same command goes on"
    console.print(f"{len(work.done)} of {len(NEEDS)} stages done; {after}. To take home: {work.export}")


@app.command()
def pack(
    out: Annotated[Path, typer.Argument(help="folder for the parts and their table of contents")],
    paths: Annotated[list[Path], typer.Argument(help="files and folders: data, wheels")],
    mib: Annotated[int, typer.Option(help="largest part")] = 60,
) -> None:
    """Cut files into parts for a journey, verified by 'bench unpack' at its end."""
    from bench.parcels import MIB, items_of, write
    from bench.parcels import pack as cut

    parcel = cut(items_of(paths), mib * MIB)
    console.print(f"{len(parcel.files)} files in {len(parcel.parts)} parts: {write(parcel, out)}")


@app.command()
def unpack(
    folder: Annotated[Path, typer.Argument(help="parts and their table of contents, all in it")],
    out: Annotated[Path, typer.Argument(help="folder for the files")],
) -> None:
    """The files of a parcel again, each checked by its hash."""
    from bench.parcels import unpack as restore

    console.print(f"{len(restore(folder, out)['files'])} files in {out}")


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="a git revision of this checkout")],
    b: Annotated[str, typer.Argument(help="another; 'working tree' for the files as they are")] = "working tree",
    samplers: Annotated[str, typer.Option(help="comma-separated; all: those of either side")] = "all",
    calls: Annotated[int, typer.Option(help="budget of network calls of a pass")] = 6,
    teacher: Annotated[str, typer.Option(help="name in the first side's zoo, or path of a card (.json)")] = "mnist32",
    effect: Annotated[float, typer.Option(help="relative slowdown that must be found")] = 0.05,
    budget: Annotated[float, typer.Option(help="seconds for everything")] = 180.0,
    threads: Annotated[int, typer.Option(help="CPU threads; one is the quietest")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    timed: Annotated[bool, typer.Option("--time/--no-time", help="time too, or only count")] = True,
    out: Annotated[Path, typer.Option(help="folder of comparison.json")] = Path("runs/comparison"),
) -> None:
    """Two revisions side by side: counted work, images, and time in interleaved pairs, with a verdict a row."""
    from bench.compare_revisions import Terms, compare_revisions
    from bench.revisions import repository
    from bench.verdicts import table

    asked = tuple(_listed(samplers) or ())
    terms = Terms(asked, calls, teacher, effect, budget, threads, device, timed)
    with console.status("comparing", spinner="dots") as status:
        outcome = compare_revisions((a, b), repository(), terms, out, lambda what: status.update(f"comparing: {what}"))
    print(table(outcome.rows, outcome.names))
    console.print(f"all of it: {out / 'comparison.json'}")


@app.command()
def doctor() -> None:
    """What this machine can run, what is missing, and how to get it."""
    from bench.doctor import examine

    examine(console)


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 2."""
    try:
        code = app(standalone_mode=False)
    except UserError as e:
        code = _fail(str(e))
    except (KeyboardInterrupt, typer.Abort):
        code = _fail("interrupted; run the same command again to go on from here", code=130)
    except OSError as e:
        code = _fail(f"{e.strerror or e}{f': {e.filename}' if e.filename else ''}")
    except Exception as e:
        # Typer's own usage errors carry an exit code and a message; anything else is ours, and its traceback is wanted.
        if not hasattr(e, "exit_code") or not hasattr(e, "format_message"):
            raise
        code = _fail(" ".join(e.format_message().split()))
    sys.exit(code)


def _fail(message: str, code: int = 2) -> int:
    Console(stderr=True).print(f"bench: {message}", markup=False, highlight=False, soft_wrap=True)
    return code


if __name__ == "__main__":
    main()
