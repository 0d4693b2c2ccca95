"""The folder of a profile: profile.json, tables, page and figure."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import matplotlib
import seaborn as sns
from matplotlib.figure import Figure

from bench.presentation.looks import COLOURS, DPI, THEME, WIDTH, log_axes
from bench.presentation.text import markdown, measured, percent, plural
from samplers.files import write_whole


def _ci(summary: dict[str, Any]) -> str:
    """A median with its interval."""
    return f"{measured(summary['median'])} [{measured(summary['ci_low'])}, {measured(summary['ci_high'])}]"


def page(result: dict[str, Any]) -> str:
    """profile.md."""
    counted, forwards = result["counted"], result["counted"]["forwards"]
    gpu = result["environment"].get("gpu")
    student = result["student"] or {"name": "", "sha256": ""}
    parts = [
        f"# One pass of {result['sampler'].split(':')[0]}, mode {result['mode']}",
        f"{plural(counted['calls'], 'call')}, {plural(forwards, 'forward')}, "
        f"{result['teacher_equivalents']:.2f} teacher-equivalents of work an image "
        f"({counted['flops_per_image'] / 1e9:.3f} GFLOP; one teacher forward {counted['teacher_flops'] / 1e9:.3f}). "
        f"Student {student['name']} ({student['sha256'][:12]}), teacher {result['teacher']['name']}, "
        f"{_machine(result)}. "
        f"Clock: {result['clock']}.",
        "![Profile](profile.png)",
        "## The pass against the teacher's forwards",
        f"Medians with 95 % intervals. Ratios are of the same round: to one teacher forward at the same batch, to {forwards} "
        f"forwards in one call (the same effective batch), and to {forwards} calls one after another; the teacher runs in the "
        f"same mode. Peak memory is {'what was allocated' if gpu else 'the resident set of the whole process'}.",
    ]
    rows = [
        [
            str(b["batch_size"]),
            _ci(b["ms"]),
            measured(b["images_per_s"]),
            _ci(b["ratio_to_one_forward"]),
            _ci(b["ratio_to_m_forwards"]),
            _ci(b["ratio_to_m_calls"]),
            f"{b['flops_per_s'] / 1e9:.1f}",
            percent(b["share_of_matrix_rate"]),
            "" if b["peak_bytes"] is None else f"{b['peak_bytes'] / 2**20:.0f}",
        ]
        for b in result["batches"]
    ]
    header = [
        "batch", "ms", "images/s", "ratio to 1 forward", f"ratio to {forwards} forwards in a call",
        f"ratio to {forwards} calls", "GFLOP/s", "of matrix rate", "peak MiB",
    ]  # fmt: skip
    parts.append(markdown(header, rows, right=range(len(header))))
    rate = (
        f"Matrix rate: {result['matrix_flops_per_s'] / 1e9:.0f} GFLOP/s, the fastest float32 product of two large square "
        "matrices seen here. FLOPs: 2 a multiply-add; elementwise operations and Fourier transforms are not counted."
    )
    if any(b["share_of_matrix_rate"] > 1 for b in result["batches"]):
        rate += " Above 100 %: this library's convolutions are faster than its matrix product, which is then no ceiling."
    parts.append(rate)
    for batch in dict.fromkeys(s["batch_size"] for s in result["stages"]):
        parts.append(f"## Stages at batch {batch}")
        own = [s for s in result["stages"] if s["batch_size"] == batch]
        parts.append(
            markdown(
                ["stage", "modules", "ms", "share of the pass"],
                [[s["stage"], str(s["modules"] or ""), _ci(s["ms"]), percent(s["share"])] for s in own],
                right=(1, 2, 3),
            )
        )
    if result["stages"]:
        parts.append(
            f"Stages are marked before and after each module by the {result['clock']}, without waiting for the device in "
            "between; everything else is concatenation of skips, repeating the noise, and the time between the modules"
            f"{', in which a GPU may wait for the next launch' if gpu else ''}."
        )
    else:
        parts.append("Stages are told apart in mode eager only: a compiled or captured pass has no modules to mark.")
    return "\n\n".join(parts) + "\n"


def _machine(result: dict[str, Any]) -> str:
    """The device in words."""
    gpu = result["environment"].get("gpu")
    if gpu:
        return f"{gpu['name']} ({result['device']})"
    return f"{result['environment'].get('cpu', 'CPU')}, {plural(result['threads'], 'thread')}"


def figure(result: dict[str, Any], path: Path) -> None:
    """profile.png: shares of the stages (eager only), and throughput against batch size beside the teacher's."""
    batches, forwards = result["batches"], result["counted"]["forwards"]
    ends = list(dict.fromkeys(s["batch_size"] for s in result["stages"]))
    name = result["sampler"].split(":")[0]
    with matplotlib.rc_context(THEME):
        fig = Figure(figsize=(WIDTH, 3.4), layout="constrained")
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
        log_axes(ax, (min(x), max(x)), (min(values), max(values)))
        ax.set(xlabel="batch size", ylabel="images per second", title=f"Throughput, mode {result['mode']}")
        ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=1)
        sns.despine(ax=ax)
        path.parent.mkdir(parents=True, exist_ok=True)
        fig.savefig(path, dpi=DPI, metadata={"Software": None})


def write_profile(result: dict[str, Any], folder: Path) -> Path:
    """Write profile.json, stages.csv, batches.csv, profile.md and the figure; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stages.csv").unlink(missing_ok=True)  # of an earlier profile in another mode
    _csv(folder / "stages.csv", result["stages"])
    _csv(folder / "batches.csv", result["batches"])
    figure(result, folder / "profile.png")
    write_whole(folder / "profile.md", page(result).encode())
    write_whole(folder / "profile.json", (json.dumps(result, indent=1) + "\n").encode())  # last: it says that all is there
    return folder / "profile.md"


def _csv(path: Path, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    flat = [{k2: v2 for k, v in row.items() for k2, v2 in _columns(k, v)} for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, flat[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    write_whole(path, text.getvalue().encode())


def _columns(key: str, value: Any) -> list[tuple[str, Any]]:
    return [(f"{key}.{k}", v) for k, v in value.items()] if isinstance(value, dict) else [(key, value)]
