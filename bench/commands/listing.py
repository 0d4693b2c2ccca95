"""`bench list`: what can be run, read from the cards."""

import inspect
from contextlib import suppress

from rich.console import Console
from rich.table import Table

import samplers
from bench.quality.extractor import GROUP as EXTRACTORS
from bench.quality.metrics import Metric, load_metric, metric_names
from samplers.errors import UserError, foreign
from samplers.models.cards import StudentCard, trained_for
from samplers.models.zoo import CardPart, zoo
from samplers.protocol import Card
from samplers.registry import MEND, entries, load_entry, refused
from samplers.students import StudentSampler


def show(console: Console) -> None:
    """Print the tables of samplers, teachers, extractors and metrics."""
    table = Table("sampler", "order", "kind", "calls for N steps", "grid", "paper", "note", title="samplers")
    for name in samplers.names():
        try:
            c = samplers.card(name)
        except UserError as e:
            table.add_row(name, "-", "-", "-", "-", "-", str(e))
            continue
        kind = ("trained, " if c.training else "") + (
            "deterministic"
            if c.deterministic
            else "stochastic"
            if c.noise_from < 2
            else f"stochastic from {c.noise_from} steps"
        )
        table.add_row(name, str(c.order or "-"), kind, _formula(c), c.grid or "-", c.paper, c.note)
    for name, why in refused(samplers.registry.GROUP).items():
        table.add_row(name, "-", "-", "-", "-", "-", f"not used: {why}")
    console.print(table)
    table = Table("sampler", "grid", "end at 10 steps", "last step", "where that comes from", title="default settings")
    for name in samplers.names():
        with suppress(UserError), foreign(f"sampler '{name}' does not say its setting", MEND):
            c = samplers.card(name)
            if c.grid is not None or c.setting:
                table.add_row(name, c.grid or "-", f"{c.end(10):.3g}" if c.end else "the teacher's", c.last, c.setting)
    console.print(table)
    table = Table("teacher", "shape", "classes", "predicts", "parameters", "trained for", title="teachers")
    for name in zoo("teacher"):
        try:
            d = samplers.load_teacher(name).describe()
        except UserError as e:
            table.add_row(name, "-", "-", "-", "-", str(e))
            continue
        table.add_row(name, d.shape, str(d.classes), d.predicts, f"{d.parameters:,}", d.trained)
    console.print(table)
    table = Table("student", "sampler", "steps", "of teacher", "parameters", "trained for", title="students")
    for name in samplers.names():
        try:
            sampler = samplers.get(name)
            with foreign(f"sampler '{name}' does not list its students", MEND):
                students = sampler.students() if isinstance(sampler, StudentSampler) else []
        except UserError:
            continue  # told above, or when it is run
        for entry in students:
            try:
                of = entry.read(StudentCard)
            except UserError as e:
                table.add_row(entry.path.stem, name, "-", "-", "-", str(e))
                continue
            seconds = (of.cost or {}).get("seconds") or of.training.seconds
            steps = of.steps or ", ".join(map(str, sampler.card.steps or ())) or "any"
            teacher, parameters = (of.teacher and of.teacher.name) or "-", f"{of.parameters:,}" if of.parameters else "-"
            table.add_row(of.name, name, str(steps), teacher, parameters, trained_for(seconds, of.training.device))
    console.print(table)
    metrics, broken = _metrics()
    table = Table("extractor", "test accuracy", "metrics it gives", title="feature extractors")
    for name, entry in zoo("extractor").items():
        gives = ", ".join(f"{output}_{name}" for m in metrics for output in m.outputs)
        try:
            accuracy = entry.read(_Accuracy).test_accuracy
            table.add_row(name, "-" if accuracy is None else f"{accuracy:.2%}", gives)
        except UserError as e:
            table.add_row(name, "-", str(e))
    for kind in entries(EXTRACTORS):
        if kind != "zoo":
            table.add_row(f"{kind}:...", "-", _first_line(EXTRACTORS, kind))
    console.print(table)
    table = Table("metric", "what it is", title="metrics (--metrics)")
    for m in metrics:
        table.add_row(m.name, f"{m.description}; {m.better} is better")
    for name, why in broken.items():
        table.add_row(name, why)
    console.print(table)


def _metrics() -> tuple[list[Metric], dict[str, str]]:
    """(the metrics that load, why the others do not)."""
    found, broken = [], {}
    for name in metric_names():
        try:
            found.append(load_metric(name))
        except UserError as e:
            broken[name] = str(e)
    return found, broken


class _Accuracy(CardPart):
    test_accuracy: float | None = None


def _first_line(group: str, name: str) -> str:
    """What an entry point's function says of itself, or why it does not load."""
    try:
        return (inspect.getdoc(load_entry(group, name)) or "").partition("\n")[0]
    except UserError as e:
        return str(e)


def _formula(card: Card) -> str:
    """A linear count of calls in words: its slope and constant from two values."""
    low, high = (card.steps or (2, 3))[0], (card.steps or (2, 3))[-1]
    slope = (card.calls(high) - card.calls(low)) // max(high - low, 1)
    constant = card.calls(low) - low * slope
    if slope == 0:
        return str(constant)
    return f"{slope if slope > 1 else ''}N{f' {constant:+d}' if constant else ''}".replace(" -", " - ").replace(" +", " + ")
