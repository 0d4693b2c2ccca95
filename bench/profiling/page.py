"""The folder of a profile: profile.json, tables, page and figure."""

from pathlib import Path
from typing import Any

import pandas as pd
import seaborn as sns

from bench.presentation import markdown
from bench.presentation.document import Block, Cell, Document, Figure, Heading, Paragraph, Table, cell, strong
from bench.presentation.looks import drawing, log_axes
from bench.presentation.series import COLOURS
from bench.presentation.text import interval, measured, percent, plural
from samplers.files import write_json, write_whole
from samplers.spec import Spec

APART = 1.5
"""Times that the stages' sum and the pass, which are timed apart, may differ by on a quiet machine."""


def _interval(summary: dict[str, Any]) -> Cell:
    """A median with its interval."""
    return Cell(interval(summary["median"], summary["ci_low"], summary["ci_high"]), summary["median"])


def doubts(result: dict[str, Any]) -> list[str]:
    """Why a profile should not be believed, a line each, the last one with what to do; none where all is well."""
    found = []
    conditions = result.get("conditions")
    if conditions and conditions["valid"] is False:
        found.append(f"something disturbed the machine while it was timed ({'; '.join(conditions['reasons'])})")
    passes = {b["batch_size"]: b["ms"]["median"] for b in result["batches"]}
    for batch in dict.fromkeys(s["batch_size"] for s in result["stages"]):
        times = sum(s["ms"]["median"] for s in result["stages"] if s["batch_size"] == batch) / passes[batch]
        if not 1 / APART < times < APART:
            found.append(f"the stages at batch {batch} add up to {times:.2g} times the pass that was timed on its own")
    if found:
        threads = ", or leave it a core (--threads 1)" if result["threads"] > 1 and result["device"] == "cpu" else ""
        found.append(f"stop what else runs here{threads}, and profile again")
    return found


def headline(result: dict[str, Any]) -> Document:
    """The result in short: the pass against forwards, the stages' shares, and why it should not be believed."""
    forwards, batches = result["counted"]["forwards"], result["batches"]
    rows = [
        [
            cell(b["batch_size"]),
            _interval(b["ms"]),
            cell(b["images_per_s"], measured),
            *(_interval(b[f"ratio_to_{what}"]) for what in ("one_forward", "m_forwards")),
        ]
        for b in batches
    ]
    columns = ["batch", "ms a pass", "images/s", "ratio to 1 forward", f"ratio to {forwards} forwards in a call"]
    blocks: list[Block] = [Paragraph(_counts(result)), Table(columns, rows, range(len(columns)))]
    ends = list(dict.fromkeys(s["batch_size"] for s in result["stages"]))
    if ends:
        shares = {(s["stage"], s["batch_size"]): s["share"] for s in result["stages"]}
        names = list(dict.fromkeys(s["stage"] for s in result["stages"]))
        parts = [[cell(name), *(cell(shares[name, b], percent) for b in ends)] for name in names]
        blocks.append(Table(["stage", *(f"share at batch {b}" for b in ends)], parts, range(1, 1 + len(ends))))
    return [*blocks, *_doubtful(result)]


def _doubtful(result: dict[str, Any]) -> list[Block]:
    told = doubts(result)
    return [Paragraph([strong("Not to be believed"), f": {'; '.join(told)}."])] if told else []


def document(result: dict[str, Any]) -> Document:
    """The page of a profile, whose figure `profile.png` lies beside it."""
    gpu = result["environment"].get("gpu")
    return [
        Heading(1, f"One pass of {Spec.parse(result['sampler']).name}, mode {result['mode']}"),
        *_doubtful(result),
        Paragraph(_counts(result)),
        Figure("Profile", "profile.png", data=_frame(result["batches"])),
        Heading(2, "The pass against the teacher's forwards"),
        *_batches(result),
        *_stages(result),
        Paragraph(
            f"Stages are marked before and after each module by the {result['clock']}, without waiting for the device in "
            "between; everything else is concatenation of skips, repeating the noise, and the time between the modules"
            f"{', in which a GPU may wait for the next launch' if gpu else ''}."
            if result["stages"]
            else "Stages are told apart in mode eager only: a compiled or captured pass has no modules to mark."
        ),
    ]


def _counts(result: dict[str, Any]) -> str:
    counted, student = result["counted"], result["student"] or {"name": "", "sha256": ""}
    return (
        f"{plural(counted['calls'], 'call')}, {plural(counted['forwards'], 'forward')}, "
        f"{result['teacher_equivalents']:.2f} teacher-equivalents of work an image "
        f"({counted['flops_per_image'] / 1e9:.3f} GFLOP; one teacher forward {counted['teacher_flops'] / 1e9:.3f}). "
        f"Student {student['name']} ({student['sha256'][:12]}), teacher {result['teacher']['name']}, "
        f"{_machine(result)}. Clock: {result['clock']}."
    )


def _batches(result: dict[str, Any]) -> list[Block]:
    """The pass at each batch size, with what to know before and after."""
    forwards, batches = result["counted"]["forwards"], result["batches"]
    gpu = result["environment"].get("gpu")
    about = (
        f"Medians with 95 % intervals. Ratios are of the same round: to one teacher forward at the same batch, to {forwards} "
        f"forwards in one call (the same effective batch), and to {forwards} calls one after another; the teacher runs in the "
        f"same mode. Peak memory is {'what was allocated' if gpu else 'the resident set of the whole process'}."
    )
    rows = [
        [
            cell(b["batch_size"]),
            _interval(b["ms"]),
            cell(b["images_per_s"], measured),
            *(_interval(b[f"ratio_to_{what}"]) for what in ("one_forward", "m_forwards", "m_calls")),
            Cell(f"{b['flops_per_s'] / 1e9:.1f}", b["flops_per_s"]),
            cell(b["share_of_matrix_rate"], percent),
            cell(b["peak_bytes"], lambda v: "" if v is None else f"{v / 2**20:.0f}"),
        ]
        for b in batches
    ]
    columns = [
        "batch", "ms", "images/s", "ratio to 1 forward", f"ratio to {forwards} forwards in a call",
        f"ratio to {forwards} calls", "GFLOP/s", "of matrix rate", "peak MiB",
    ]  # fmt: skip
    rate = (
        f"Matrix rate: {result['matrix_flops_per_s'] / 1e9:.0f} GFLOP/s, the fastest float32 product of two large square "
        "matrices seen here. FLOPs: 2 a multiply-add; elementwise operations and Fourier transforms are not counted."
    )
    if any(b["share_of_matrix_rate"] > 1 for b in batches):
        rate += " Above 100 %: this library's convolutions are faster than its matrix product, which is then no ceiling."
    return [Paragraph(about), Table(columns, rows, range(len(columns))), Paragraph(rate)]


def _stages(result: dict[str, Any]) -> list[Block]:
    """A table for each batch size at which the stages were told apart."""
    blocks: list[Block] = []
    for batch in dict.fromkeys(s["batch_size"] for s in result["stages"]):
        rows = [
            [cell(s["stage"]), cell(s["modules"] or None), _interval(s["ms"]), cell(s["share"], percent)]
            for s in result["stages"]
            if s["batch_size"] == batch
        ]
        table = Table(["stage", "modules", "ms", "share of the pass"], rows, (1, 2, 3))
        blocks += [Heading(2, f"Stages at batch {batch}"), table]
    return blocks


def _machine(result: dict[str, Any]) -> str:
    """The device in words."""
    gpu = result["environment"].get("gpu")
    if gpu:
        return f"{gpu['name']} ({result['device']})"
    return f"{result['environment'].get('cpu', 'CPU')}, {plural(result['threads'], 'thread')}"


def draw(result: dict[str, Any], path: Path) -> None:
    """profile.png: shares of the stages (eager only), and throughput against batch size beside the teacher's."""
    batches, forwards = result["batches"], result["counted"]["forwards"]
    ends = list(dict.fromkeys(s["batch_size"] for s in result["stages"]))
    name = Spec.parse(result["sampler"]).name
    with drawing(path, height=3.4) as fig:
        axes = fig.subplots(1, 2 if ends else 1, squeeze=False)[0]
        if ends:
            ax = axes[0]
            names = [s["stage"] for s in result["stages"] if s["batch_size"] == ends[0]]
            for k, batch in enumerate(ends):
                own = [s for s in result["stages"] if s["batch_size"] == batch]
                height = 0.8 / len(ends)
                at = [i + (k - (len(ends) - 1) / 2) * height for i in range(len(own))]
                ax.barh(at, [100 * s["share"] for s in own], height, color=COLOURS[k], label=f"batch {batch}")
            ax.set_yticks(range(len(names)), names)
            ax.invert_yaxis()
            ax.set(xlabel="share of the pass (%)", title="Where one pass spends its time")
            ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
            sns.despine(ax=ax)
        ax = axes[-1]
        x = [b["batch_size"] for b in batches]
        teacher = [1e3 * b["batch_size"] / b["teacher_forward_ms"]["median"] for b in batches]
        series = (
            (f"{name}, {plural(forwards, 'forward')} an image", [b["images_per_s"] for b in batches], "o", "-"),
            ("teacher, 1 forward an image", teacher, "s", "-"),
            (f"teacher / {forwards}", [t / forwards for t in teacher], "", (0, (4, 2))),
        )
        for (label, y, marker, line), colour in zip(series, (COLOURS[3], COLOURS[0], "0.5"), strict=True):
            ax.plot(x, y, marker=marker, ls=line, color=colour, label=label, lw=1, ms=4)
        values = [v for _, y, _, _ in series for v in y]
        log_axes(ax, (min(x), max(x)), (min(values), max(values)), at=x)
        ax.set(xlabel="batch size", ylabel="images per second", title=f"Throughput, mode {result['mode']}")
        ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=1)
        sns.despine(ax=ax)


def write_profile(result: dict[str, Any], folder: Path) -> Path:
    """Write profile.json, stages.csv, batches.csv, profile.md and the figure; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stages.csv").unlink(missing_ok=True)  # of an earlier profile in another mode
    for name in ("stages", "batches"):
        if rows := result[name]:
            write_whole(folder / f"{name}.csv", _frame(rows).to_csv(index=False, lineterminator="\n").encode())
    draw(result, folder / "profile.png")
    write_whole(folder / "profile.md", markdown.render(document(result)).encode())
    write_json(folder / "profile.json", result)  # last: it says that all is there
    return folder / "profile.md"


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows as a table with a column for each leaf, keys joined by dots; whole numbers stay whole beside a null."""
    nested = [{k: v if isinstance(v, dict) else {"": v} for k, v in row.items()} for row in rows]
    flat = [{f"{k}.{inner}".rstrip("."): leaf for k, v in row.items() for inner, leaf in v.items()} for row in nested]
    return pd.DataFrame(flat, dtype=object)
