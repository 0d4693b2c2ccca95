"""`bench list`: what can be run, read from the cards; and all that one card says."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import samplers
from bench.commands.neighbours import neighbour_facts, not_listed
from bench.presentation.document import Block, Document, Heading, Paragraph, Table, cell, code, woven
from bench.quality.extractor import GROUP as EXTRACTORS
from bench.quality.metrics import INCEPTION, Metric, load_metric, metric_names
from bench.runs.plan import PLANS
from samplers.errors import UserError, foreign, one_line
from samplers.models.cards import StudentCard, trained_for
from samplers.models.teacher import GROUP as TEACHERS
from samplers.models.zoo import CardPart, zoo
from samplers.protocol import Card
from samplers.registry import MEND, entries, find, load, load_entry, package_of, refused
from samplers.spec import Spec
from samplers.students import StudentSampler
from samplers.training.recipe import RECIPES

if TYPE_CHECKING:
    import pandas as pd

TRAINERS = "bench.trainers"
KINDS = {
    "sampler": ("order", "calls for N steps", "grid", "draws noise", "trained"),
    "neighbour": ("order", "calls for N steps", "grid", "draws noise"),
    "student": ("sampler", "steps", "of teacher"),
    "teacher": ("shape", "classes", "predicts", "parameters"),
    "extractor": ("test accuracy", "metrics"),
    "metric": ("what it is",),
    "kind of teacher": ("what it is",),
    "kind of extractor": ("what it is",),
    "trainer": ("what it is",),
}
"""What is listed, in this order, and the facts that the overview shows of each."""
USED = {
    "sampler": "--samplers", "student": "found by its teacher's hash", "teacher": "--teacher", "extractor": "--extractor",
    "metric": "--metrics", "kind of teacher": "--teacher KIND:..", "kind of extractor": "--extractor KIND:..",
    "trainer": "bench train", "neighbour": "--samplers",
}  # fmt: skip
"""Where a name of each kind is written."""


@dataclass(frozen=True)
class Listed:
    """Something that can be named.

    Attributes:
        kind: of KINDS.
        name: what it is called.
        facts: what its card says, by what it is called.
        why: it cannot be used; "" of what can.
    """

    kind: str
    name: str
    facts: dict[str, str] = field(default_factory=dict)
    why: str = ""


def overview(found: Sequence[Listed]) -> Document:
    """A table of each kind, narrow enough for 80 columns, and what cannot be used."""
    blocks: list[Block] = []
    for kind, shown in KINDS.items():
        rows = [[cell(e.name), *(cell(e.facts.get(key, "")) for key in shown)] for e in found if e.kind == kind and not e.why]
        if rows:
            blocks.append(Table([kind, *shown], rows, caption=f"{kind.replace('kind', 'kinds')}s ({USED[kind]})"))
    if broken := [[cell(e.name), cell(e.kind), cell(e.why)] for e in found if e.why]:
        blocks.append(Table(["name", "kind", "why"], broken, caption="cannot be used"))
    for what, flag, folder in (("plans", "--plan", PLANS), ("recipes", "--recipe", RECIPES)):
        blocks.append(Paragraph(f"{what} that ship ({flag}): {', '.join(sorted(p.stem for p in folder.glob('*.yaml')))}"))
    return [*blocks, Paragraph(woven("All that the card of one says: {}.", code("bench list NAME")))]


def card_of(found: Sequence[Listed], name: str) -> Document:
    """All facts of what has this name, of every kind.

    Raises:
        UserError: nothing has.
    """
    blocks: list[Block] = []
    for e in found:
        if e.name == name:
            told = {**({"cannot be used": e.why} if e.why else {}), **{k: v for k, v in e.facts.items() if v}}
            blocks += [
                Heading(2, f"{e.name}, {e.kind} ({USED[e.kind]})"),
                Table(["what", "value"], [[cell(k), cell(v)] for k, v in told.items()]),
            ]
    if not blocks:
        raise not_listed(name, {e.name for e in found})
    return blocks


def list_(name: str | None = None) -> "pd.DataFrame":
    """What can be run: a row for each sampler, student, teacher, extractor, metric and trainer, with what its card says.

    Args:
        name: only what has this name.

    Raises:
        samplers.UserError: nothing has.
    """
    import pandas as pd

    found = listed()
    if name is not None:
        card_of(found, name)
    rows = [{"kind": e.kind, "name": e.name, **e.facts, "cannot be used": e.why or None} for e in found]
    table = pd.DataFrame(rows if name is None else [row for row in rows if row["name"] == name])
    return table.dropna(axis="columns", how="all")


def listed() -> list[Listed]:
    """All that can be named, kind by kind."""
    metrics, broken = _metrics()
    neighbours = (Listed("neighbour", name, facts) for name, facts in neighbour_facts(_formula))
    found = [*_samplers(), *neighbours, *_students(), *_teachers(), *_extractors(metrics)]
    found += [Listed("metric", m.name, {"what it is": f"{m.description}; {m.better} is better"}) for m in metrics]
    found += [Listed("metric", name, why=why) for name, why in broken.items()]
    for kind, group in (("kind of teacher", TEACHERS), ("kind of extractor", EXTRACTORS), ("trainer", TRAINERS)):
        found += [_entry(kind, group, name) for name in entries(group) if name != "zoo"]
    return found


def _samplers() -> Iterator[Listed]:
    for name in samplers.names():
        try:
            yield Listed("sampler", name, _facts(name, samplers.card(name)))
        except UserError as e:
            yield Listed("sampler", name, why=str(e))
    for name, why in refused(samplers.registry.GROUP).items():
        yield Listed("sampler", name, why=why)


def _facts(name: str, c: Card) -> dict[str, str]:
    """A sampler's card in words.

    Raises:
        UserError: its functions raise.
    """
    with foreign(f"sampler '{name}' does not say its setting", MEND):
        end = "" if not (c.grid or c.setting) else f"{c.end(10):.3g}" if c.end else "the teacher's"
        calls = _formula(c)
    options = [p for p in inspect.signature(load(name)).parameters.values() if p.kind is p.KEYWORD_ONLY]
    told = [p.name + (f"={p.default}" if p.default not in (None, "", p.empty) else "") for p in options]
    entry = find(samplers.registry.GROUP, name)
    return {
        "order": str(c.order or ""),
        "calls for N steps": calls,
        "grid": c.grid or "",
        "draws noise": "no" if c.deterministic else "yes" if c.noise_from < 2 else f"from {c.noise_from} steps",
        "trained": "yes" if c.training else "",
        "steps": ", ".join(map(str, c.steps)) if c.steps else "any",
        "end at 10 steps": end,
        "last step": c.last if end else "",
        "where that comes from": c.setting,
        "options": ", ".join(told),
        "family": c.family,
        "paper": c.paper,
        "note": c.note,
        "package": package_of(entry) if entry else "",
    }


def _students() -> Iterator[Listed]:
    for name in samplers.names():
        try:
            sampler = samplers.get(Spec(name))
            with foreign(f"sampler '{name}' does not list its students", MEND):
                students = sampler.students() if isinstance(sampler, StudentSampler) else []
        except UserError:
            continue  # told of the sampler, or when it is run
        for entry in students:
            try:
                of = entry.read(StudentCard)
            except UserError as e:
                yield Listed("student", entry.path.stem, {"sampler": name}, str(e))
                continue
            seconds = (of.cost or {}).get("seconds") or of.training.seconds
            facts = {
                "sampler": name,
                "steps": str(of.steps or ", ".join(map(str, sampler.card.steps or ())) or "any"),
                "of teacher": (of.teacher and of.teacher.name) or "",
                "parameters": f"{of.parameters:,}" if of.parameters else "",
                "trained for": trained_for(seconds, of.training.device),
                "labels": of.labels,
                "SHA-256": of.sha256,
            }
            yield Listed("student", of.name, facts)


def _teachers() -> Iterator[Listed]:
    for name in zoo("teacher"):
        try:
            teacher = samplers.load_teacher(name)
            d = teacher.describe()
        except UserError as e:
            yield Listed("teacher", name, why=str(e))
            continue
        facts = {"shape": d.shape, "classes": str(d.classes), "predicts": d.predicts, "parameters": f"{d.parameters:,}"}
        more = {"trained for": d.trained, "SHA-256": teacher.sha256 or "", "more": f"bench doctor --teacher {name}"}
        yield Listed("teacher", name, facts | more)


def _extractors(metrics: Sequence[Metric]) -> Iterator[Listed]:
    for name, entry in zoo("extractor").items():
        gives = ", ".join(f"{output}_{name}" for m in metrics if INCEPTION not in m.needs for output in m.outputs)
        try:
            accuracy = entry.read(_Accuracy).test_accuracy
            yield Listed("extractor", name, {"test accuracy": "" if accuracy is None else f"{accuracy:.2%}", "metrics": gives})
        except UserError as e:
            yield Listed("extractor", name, why=str(e))


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


def _entry(kind: str, group: str, name: str) -> Listed:
    """An entry point by the first sentence that it says of itself."""
    try:
        said = (inspect.getdoc(load_entry(group, name)) or "").partition("\n\n")[0]
        return Listed(kind, name, {"what it is": one_line(said)})
    except UserError as e:
        return Listed(kind, name, why=str(e))


def _formula(card: Card) -> str:
    """A linear count of calls in words: its slope and constant from two values."""
    low, high = (card.steps or (2, 3))[0], (card.steps or (2, 3))[-1]
    slope = (card.calls(high) - card.calls(low)) // max(high - low, 1)
    constant = card.calls(low) - low * slope
    if slope == 0:
        return str(constant)
    return f"{slope if slope > 1 else ''}N{f' {constant:+d}' if constant else ''}".replace(" -", " - ").replace(" +", " + ")
