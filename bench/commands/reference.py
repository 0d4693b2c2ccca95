"""`python -m bench.commands.reference`: writes what README and docs tell of settings, cards and records, between marks.

A mark names what stands there: "fields of plan", "cards of solvers", or an excerpt (`bench.commands.excerpts`).
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.commands.excerpts import ROOT, excerpt
from bench.commands.listing import Listed, listed
from bench.presentation import markdown
from bench.presentation.document import Table, cell
from bench.runs.plan import Plan
from bench.studies.stages import StudyRecipe, trainer_of
from samplers.errors import UserError
from samplers.files import write_whole
from samplers.registry import entries
from samplers.settings import Settings
from samplers.training.budget import StudentsRecipe
from samplers.training.recipe import DataSettings

DOCS = ROOT / "docs"
SCHEMA = DOCS / "plan.schema.json"
MARKED = re.compile(
    r"(?P<begin><!-- (?P<name>[^>\n]+), written by python -m bench\.commands\.reference -->)\n.*?"
    r"(?P<end><!-- end of (?P=name) -->)",
    re.DOTALL,
)
CARDS = {
    "solvers": ("sampler", "", ("order", "calls for N steps", "grid", "end at 10 steps", "last step", "draws noise", "paper")),
    "trained samplers": ("sampler", "yes", ("steps", "calls for N steps", "draws noise", "note", "paper")),
    "students": ("student", None, ("sampler", "steps", "of teacher", "parameters", "trained for")),
}
"""Tables of cards: of which kind, what `trained` says there, and the facts that are shown."""


def pages() -> list[Path]:
    """The pages that may have something written into them."""
    return [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def names(page: str) -> list[str]:
    """What the marks of a page's text name."""
    return [found["name"] for found in MARKED.finditer(page)]


def written() -> dict[Path, str]:
    """The files that are written, with what each of them should hold."""
    found = {path: text for path in pages() if names(text := path.read_text())}
    return {path: MARKED.sub(_filled, text) for path, text in found.items()} | {SCHEMA: Plan.schema_text()}


def _filled(mark: re.Match[str]) -> str:
    return f"{mark['begin']}\n\n{_text(mark['name'])}\n\n{mark['end']}"


def _text(name: str) -> str:
    kind, _, source = name.partition(" of ")
    if name == "fields of plan":
        return Plan.table().rstrip("\n")
    if name == "fields of recipes":
        return "\n".join(_sections()).rstrip("\n")
    return markdown.render([_cards(source)]).rstrip("\n") if kind == "cards" else excerpt(name)


def _cards(source: str) -> Table:
    """What ships, a row each, with what its card says."""
    kind, trained, facts = CARDS[source]

    def shown(e: Listed) -> bool:
        ours = e.facts.get("package", "sampler-bench") == "sampler-bench"
        return e.kind == kind and ours and not e.why and trained in (None, e.facts.get("trained", ""))

    return Table([kind, *facts], [[cell(e.name), *(cell(e.facts.get(f, "")) for f in facts)] for e in listed() if shown(e)])


def _sections() -> Iterator[str]:
    """A heading and a table for each section of a recipe, and after them for each section in one."""
    sections: dict[str, type[Settings]] = {"data": DataSettings}
    sections |= {name: trainer_of(name).Recipe for name in entries("bench.trainers")}
    sections |= {"students": StudentsRecipe, "campaign": StudyRecipe}
    told: dict[type[Settings], str] = {}
    for name, kind in sections.items():
        told.setdefault(kind, f"`{name}`")  # knowledge_distillation has what differs from dsno
    for kind, title in list(told.items()):
        for key, field in kind.model_fields.items():
            if isinstance(own := field.annotation, type) and issubclass(own, Settings):
                told[own] = f"`{key}`" if own in told else f"`{key}` of {title}"
    for kind, title in told.items():
        yield f"## {title}\n\n{kind.table()}"


if __name__ == "__main__":
    try:
        for path, text in written().items():
            write_whole(path, text.encode())
            print(path.relative_to(ROOT))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
