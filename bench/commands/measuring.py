"""`bench run`, `report`, `list`, `profile` and `doctor`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bench.commands.options import Device, Markdown, Plugins, Quiet, Zoo, add_plugins, add_zoos, console, options_of, say
from bench.profiling.settings import ProfileSettings
from bench.runs.plan import Plan, make_plan
from bench.runs.tuning_settings import TuningSettings
from samplers.errors import UserError

Literature = Annotated[str | None, typer.Option(help="draw published FIDs in the report, too: cifar10 or imagenet64")]


@options_of(Plan, but="tables")
def run(
    given: dict[str, Any],
    plan: Annotated[Path | None, typer.Option(help="YAML file with these flags as keys, or a shipped plan (cifar10)")] = None,
    out: Annotated[Path | None, typer.Option(help="the run's folder; default runs/RUN_ID")] = None,
    tuned: Annotated[Path | None, typer.Option(help="tuned.yaml of 'bench tune', for a plan with samplers 'tuned'")] = None,
    shard: Annotated[str | None, typer.Option(help="I/N: the I-th of N parts of the cells alone, for 'bench merge'")] = None,
    on: Annotated[str | None, typer.Option(help="ray: spread the cells over the workers of a Ray cluster")] = None,
    zoo: Zoo = None,
    plugin: Plugins = None,
    report: Annotated[bool, typer.Option(help="write the report at the end")] = True,
    literature: Literature = None,
    again: Annotated[bool, typer.Option("--again", help="measure once more the cells that failed or were disturbed")] = False,
    quiet: Quiet = False,
) -> None:
    """Measure samplers: quality, calls, work, time. Resumes what was interrupted; renders the report.

    Exit code 0, or 1 where a cell failed (its record says why; the others are measured), 2 for a mistake in what was asked.
    """
    from bench.presentation import terminal
    from bench.presentation.text import plural
    from bench.publications.published import published
    from bench.records.caveats import caveats
    from bench.records.frame import load_records
    from bench.reports.report import headline, write_report
    from bench.runs.run import folder_of, run_anywhere
    from bench.runs.shards import Shard
    from samplers.world import is_first

    if literature is not None:
        if not report:
            raise UserError("--literature is drawn in the report; leave out --no-report")
        published(literature)  # refuses a name before anything is measured
    add_zoos(zoo)
    add_plugins(plugin)
    full = make_plan(plan, tuned=tuned, **given)
    part = None if shard is None else Shard.parse(shard)
    folder = folder_of(full, out, part)
    labelled = given.get("labels") == "balanced"
    records = run_anywhere(full, folder, part, on, quiet=quiet, again=again, labelled=labelled)
    if not is_first():
        return
    terminal.show(headline(load_records([folder])), console)
    say(f"\n{plural(len(records), 'record')} in {folder / 'records.jsonl'}")
    if report:
        say(f"report: {write_report([folder], literature=literature).with_suffix('.html')}")
    failed = [r for r in records if r.status == "failed"]
    for r in failed:
        say(f"failed: {r.cell}: {r.error}", style="red")
    if failed:
        say("once that is mended, give the same command with --again: it measures these cells alone", style="red")
    for line in caveats(records):
        say(line, style="yellow")
    if failed:
        raise typer.Exit(1)


def merge(
    runs: Annotated[list[Path], typer.Argument(help="folders of all shards of one plan, as 'bench run --shard' made them")],
    out: Annotated[Path, typer.Option(help="folder of the run that they are together")],
) -> None:
    """The runs of a plan's shards as the run that one process would have written."""
    from bench.runs.shards import merge

    console.print(f"{len(merge(runs, out))} records in {out / 'records.jsonl'}; 'bench report {out}' renders them")


@options_of(TuningSettings)
def tune(
    given: dict[str, Any],
    plan: Annotated[Path, typer.Option(help="the study's plan, whose teacher, labels and metrics are used")],
    out: Annotated[Path, typer.Option(help="folder of the run of all candidates, and of tuned.yaml")],
    zoo: Zoo = None,
    quiet: Quiet = False,
) -> None:
    """Choose each sampler's grid, end and last step on noises of their own, for a plan with samplers 'tuned'."""
    from bench.commands.functions.measuring import tune

    say(f"chosen: {tune(plan, out, zoo=zoo or (), quiet=quiet, **given)}")


def list_(
    name: Annotated[str | None, typer.Argument(help="all that the card of this one says")] = None, markdown: Markdown = False
) -> None:
    """Samplers, students, teachers, extractors, metrics and trainers; or one card in full."""
    from bench.commands.listing import card_of, listed, overview
    from bench.presentation import terminal

    found = listed()
    terminal.show(overview(found) if name is None else card_of(found, name), console, as_markdown=markdown)


def report(
    runs: Annotated[list[Path], typer.Argument(help="folders that 'bench run' made; several are merged")],
    out: Annotated[Path | None, typer.Option(help="folder for the report; default: report/ in the first run")] = None,
    literature: Literature = None,
    paper: Annotated[bool, typer.Option("--paper", help="paper/ too: figures as SVG and PDF, tables as LaTeX and CSV")] = False,
) -> None:
    """The page, tables and figures again, from records alone."""
    from bench.commands.functions.measuring import report

    say(f"report: {report(runs, out, literature=literature, paper=paper).with_suffix('.html')}")


@options_of(ProfileSettings, but="sampler")
def profile(
    given: dict[str, Any],
    sampler: Annotated[str, typer.Argument(help="a trained sampler, with options: dsno, dsno:form=fft")] = "dsno",
    device: Device = "auto",
    zoo: Zoo = None,
    trace: Annotated[bool, typer.Option("--trace", help="write a Chrome trace of one pass too")] = False,
    out: Annotated[Path | None, typer.Option(help="folder; default runs/profile-SAMPLER-MODE")] = None,
    markdown: Markdown = False,
    quiet: Quiet = False,
) -> None:
    """Where one pass of a trained sampler spends its time, and what it costs in teacher forwards."""
    from bench.commands.functions.measuring import profile, profile_folder
    from bench.presentation import terminal
    from bench.profiling.page import headline

    result = profile(sampler, device=device, zoo=zoo or (), trace=trace, out=out, quiet=quiet, **given)
    terminal.show(headline(result), console, as_markdown=markdown)
    say(f"\nprofile: {profile_folder(sampler, result['mode'], out) / 'profile.md'}")


def doctor(
    teacher: Annotated[str | None, typer.Option(help="tell of this teacher instead, as --teacher of a run names it")] = None,
    prompts: Annotated[str | None, typer.Option(help="that the teacher makes images of: FILE, or TEXT")] = None,
    measure: Annotated[bool, typer.Option("--measure/--no-measure", help="time the machine too, or only look")] = True,
    device: Annotated[str, typer.Option(help="to time: auto, cpu, cuda or cuda:N")] = "auto",
    out: Annotated[Path | None, typer.Option(help="file that gets what was measured, as JSON")] = None,
    markdown: Markdown = False,
    quiet: Quiet = False,
) -> None:
    """What this machine can run, what is missing and how to get it, and how well it measures; or all of a teacher."""
    from bench.commands.doctor import doctor, document
    from bench.presentation import terminal

    found = doctor(teacher, prompts=prompts, measure=measure, device=device, out=out, quiet=quiet)
    terminal.show(document(found), console, as_markdown=markdown)
    if found.get("broken"):
        raise UserError(found["broken"][0])
