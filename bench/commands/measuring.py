"""`bench run`, `report`, `list`, `profile` and `doctor`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bench.commands.options import Device, Quiet, Teacher, Zoo, add_zoos, console, errors, listed
from samplers.errors import UserError


def run(
    samplers: Annotated[str | None, typer.Option(help="comma-separated; see 'bench list'")] = None,
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
    mode: Annotated[str | None, typer.Option(help="eager, compile or graph (CUDA)")] = None,
    time_precision: Annotated[
        str | None, typer.Option(help="half width of the median's interval to reach, as 2%; default: exactly the repetitions")
    ] = None,
    time_budget: Annotated[float | None, typer.Option(help="seconds of timed repetitions per cell to reach it in")] = None,
    sweep: Annotated[str | None, typer.Option(help="batch sizes to measure throughput at, comma-separated")] = None,
    cold_start: Annotated[bool | None, typer.Option(help="time load, compilation and first image in a fresh process")] = None,
    plan: Annotated[Path | None, typer.Option(help="YAML file with these flags as keys, or a shipped plan (cifar10)")] = None,
    out: Annotated[Path | None, typer.Option(help="the run's folder; default runs/RUN_ID")] = None,
    zoo: Zoo = None,
    report: Annotated[bool, typer.Option(help="write the report at the end")] = True,
    quiet: Quiet = False,
) -> None:
    """Measure samplers: quality, calls, work, time. Resumes what was interrupted; renders the report."""
    import bench
    import bench.runs.plan
    import bench.runs.run
    from bench.records.caveats import caveats
    from bench.reports.report import write_report

    add_zoos(zoo)
    given: dict[str, Any] = {
        "samplers": listed(samplers),
        "teacher": teacher,
        "calls": listed(calls, int),
        "steps": listed(steps, int),
        "grid": grid,
        "images": images,
        "trajectory_images": trajectory_images,
        "batch_size": batch_size,
        "seed": seed,
        "labels": labels,
        "metrics": listed(metrics),
        "extractor": extractor,
        "repetitions": repetitions,
        "precision": precision,
        "device": device,
        "threads": threads,
        "mode": mode,
        "time_precision": time_precision,
        "time_budget": time_budget,
        "sweep": listed(sweep, int),
        "cold_start": cold_start,
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
    for line in caveats(records):
        console.print(line, style="yellow")


def list_() -> None:
    """Samplers, teachers, extractors and metrics, with their cards."""
    from bench.commands.listing import show

    show(console)


def report(
    runs: Annotated[list[Path], typer.Argument(help="folders that 'bench run' made; several are merged")],
    out: Annotated[Path | None, typer.Option(help="folder for the report; default: report/ in the first run")] = None,
) -> None:
    """Tables and figures again, from records alone."""
    from bench.reports.report import write_report

    console.print(f"report: {write_report(runs, out)}")


def profile(
    sampler: Annotated[str, typer.Argument(help="a trained sampler, with options: dsno, dsno:form=fft")] = "dsno",
    teacher: Teacher = "mnist32",
    mode: Annotated[str, typer.Option(help="eager, compile or graph (CUDA)")] = "eager",
    batch_sizes: Annotated[str, typer.Option(help="comma-separated, increasing")] = "1,2,4,8,16,32,64",
    repetitions: Annotated[int, typer.Option(help="timed passes of each")] = 20,
    device: Device = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads, 0 for all")] = 0,
    seed: Annotated[int, typer.Option(help="of the noises")] = 0,
    zoo: Zoo = None,
    trace: Annotated[bool, typer.Option("--trace", help="write a Chrome trace of one pass too")] = False,
    out: Annotated[Path | None, typer.Option(help="folder; default runs/profile-SAMPLER-MODE")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress")] = False,
) -> None:
    """Where one pass of a trained sampler spends its time, and what it costs in teacher forwards."""
    from bench.machine.device import resolve_device
    from bench.profiling.page import write_profile
    from bench.profiling.profiler import Profiler, Setting
    from samplers.spec import Spec

    add_zoos(zoo)
    sizes = tuple(listed(batch_sizes, int) or ())
    setting = Setting(sampler, teacher, mode, sizes, repetitions, threads, seed)
    profiler = Profiler(setting, resolve_device(device))
    folder = out or Path("runs") / f"profile-{Spec.parse(sampler).file_name}-{mode}"
    with console.status("profiling", spinner="dots") as status:
        result = profiler.measure((lambda _: None) if quiet else (lambda what: status.update(f"profiling: {what}")))
        written = write_profile(result, folder)
        if trace:
            profiler.trace(folder / "trace.json", sizes[-1])
    console.print(f"profile: {written}")


def doctor(
    measure: Annotated[bool, typer.Option("--measure/--no-measure", help="time the machine too, or only look")] = True,
    device: Annotated[str, typer.Option(help="to time: auto, cpu, cuda or cuda:N")] = "auto",
    out: Annotated[Path | None, typer.Option(help="file that gets what was measured, as JSON")] = None,
) -> None:
    """What this machine can run, what is missing and how to get it, and how well it measures."""
    from bench.commands import doctor
    from bench.machine.device import resolve_device

    timed = resolve_device(device)
    if out is not None and not measure:
        raise UserError("--out keeps what is measured; leave out --no-measure")
    doctor.examine(console)
    if measure:
        with errors.status("measuring", spinner="dots") as status:
            doctor.measure(console, timed, out, lambda what: status.update(f"measuring: {what}"))
