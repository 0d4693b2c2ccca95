"""The code that README and docs print."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]


@dataclass(frozen=True)
class Fence:
    """A block of code.

    Attributes:
        page: its page's name.
        line: where it begins, from 1.
        heading: the title that it stands under.
        language: "sh", "python", ..; "" where none is told.
        needs: of a comment `<!-- not run: NEEDS -->` right above it; "" where there is none.
        code: its lines, with a newline at the end of each.
    """

    page: str
    line: int
    heading: str
    language: str
    needs: str
    code: str

    @property
    def commands(self) -> list[str]:
        """Its lines without comments; one that is only the rest of a comment is none."""
        lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in self.code.splitlines())
        return [line for line in lines if line]


def fences(pages: list[Path] = PAGES) -> Iterator[Fence]:
    """All blocks of code, page by page."""
    for page in pages:
        heading, above, begun = "", "", 0
        lines = page.read_text().splitlines()
        for number, line in enumerate(lines, 1):
            if line.lstrip().startswith("```"):  # within a list it is indented
                if begun:
                    code = textwrap.dedent("".join(f"{text}\n" for text in lines[begun : number - 1]))
                    needs = re.fullmatch("<!-- not run: (.*) -->", above)
                    yield Fence(page.name, begun, heading, lines[begun - 1].strip(" `"), needs[1] if needs else "", code)
                    begun, above = 0, ""
                else:
                    begun = number
            elif not begun and line.strip():
                above = line.strip()
                heading = line.lstrip("# ") if line.startswith("#") else heading
