"""`python -m bench.commands.reference`: writes what the docs tell of a plan, from the fields of `Plan`."""

from pathlib import Path

from bench.runs.plan import Plan
from samplers.files import write_whole

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- fields, written by python -m bench.commands.reference -->", "<!-- end of the fields -->"


def written() -> dict[Path, str]:
    """The files that are written, with what each of them should hold: a table between two marks, and a JSON schema."""
    page = DOCS / "plan.md"
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return {page: f"{before}{BEGIN}\n\n{Plan.table()}\n{END}{after}", DOCS / "plan.schema.json": Plan.schema_text()}


if __name__ == "__main__":
    for path, text in written().items():
        write_whole(path, text.encode())
        print(path)
