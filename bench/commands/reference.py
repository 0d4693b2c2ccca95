"""`python -m bench.commands.reference`: writes what the docs tell of plans and recipes, from the fields of their settings."""

from collections.abc import Iterator
from pathlib import Path

from bench.runs.plan import Plan
from bench.studies.stages import StudyRecipe, trainer_of
from samplers.files import write_whole
from samplers.registry import entries
from samplers.settings import Settings
from samplers.training.budget import StudentsRecipe
from samplers.training.recipe import DataSettings

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- fields, written by python -m bench.commands.reference -->", "<!-- end of the fields -->"


def written() -> dict[Path, str]:
    """The files that are written, with what each of them should hold: tables between two marks, and a JSON schema."""
    tables = {"plan.md": Plan.table(), "recipes.md": "\n".join(_sections())}
    return {_page(name): _between_marks(_page(name).read_text(), table) for name, table in tables.items()} | {
        _page("plan.schema.json"): Plan.schema_text()
    }


def _page(name: str) -> Path:
    return DOCS / name


def _between_marks(page: str, text: str) -> str:
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


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
    for path, text in written().items():
        write_whole(path, text.encode())
        print(path)
