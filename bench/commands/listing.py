"""`bench list`: what can be run, read from the cards."""

from collections.abc import Callable

from rich.console import Console
from rich.table import Table

import samplers
from bench.quality.metrics import METRICS
from samplers.errors import UserError
from samplers.models.zoo import zoo
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
        table.add_row(name, str(c.order or "-"), kind, _formula(c.calls), c.grid or "-", c.paper, c.note)
    console.print(table)
    table = Table("teacher", "shape", "classes", "predicts", "parameters", "trained for", title="teachers")
    for name, entry in zoo("teacher").items():
        of = entry.card
        n, t = of["network"], of["training"]
        shape = f"{n['channels']}x{n['image_size']}x{n['image_size']}"
        table.add_row(
            name,
            shape,
            str(n["classes"]),
            of["parameterisation"],
            f"{of['parameters']:,}",
            f"{t['seconds'] / 60:.0f} min, {t['device']}",
        )
    console.print(table)
    table = Table("student", "sampler", "steps", "of teacher", "parameters", "trained for", title="students")
    for name in samplers.names():
        try:
            sampler = samplers.get(name)
        except UserError:
            continue  # told above
        for entry in sampler.students() if isinstance(sampler, StudentSampler) else ():
            of = entry.card
            seconds = (of.get("cost") or {}).get("seconds") or of["training"]["seconds"]
            steps = of.get("steps") or ", ".join(map(str, sampler.card.steps or ())) or "any"
            device = of["training"]["device"]
            table.add_row(
                of["name"],
                name,
                str(steps),
                of["teacher"]["name"],
                f"{of['parameters']:,}",
                f"{seconds / 60:.0f} min, {device}",
            )
    console.print(table)
    table = Table("extractor", "test accuracy", "metrics it gives", title="feature extractors")
    for name, entry in zoo("extractor").items():
        table.add_row(
            name,
            f"{entry.card['test_accuracy']:.2%}",
            ", ".join(f"{k}_{name}" for k in ("fd", "kid", "precision", "recall", "is")),
        )
    console.print(table)
    table = Table("metric", "what it is", title="metrics (--metrics)")
    for name, text in METRICS.items():
        table.add_row(name, text)
    console.print(table)


def _formula(calls: Callable[[int], int]) -> str:
    """A linear count of calls in words: its slope and constant from two values."""
    slope = calls(3) - calls(2)
    constant = calls(2) - 2 * slope
    if slope == 0:
        return str(constant)
    return f"{slope if slope > 1 else ''}N{f' {constant:+d}' if constant else ''}".replace(" -", " - ").replace(" +", " + ")
