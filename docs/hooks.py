"""The site beyond what mkdocs.yml says: the README is its first page, and what pages link to outside docs/ is in it, too."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
HOME = ("README.md", "index.md")
TARGET = re.compile(r"(?<=\]\()([^)\s#]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what lies outside docs/: the README, what pages link to there, and what pages among that link to."""
    waiting = [ROOT / HOME[0], *(ROOT / "docs" / f.src_uri for f in files.documentation_pages())]
    while waiting:
        page = waiting.pop()
        for target in TARGET.findall(page.read_text()):
            path = (page.parent / target).resolve()
            name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
            outside = path.is_file() and name != HOME[0] and not name.startswith("docs/")
            if outside and files.get_file_from_path(name) is None:
                files.append(File.generated(config, name, abs_src_path=str(path)))
                waiting += [path] if path.suffix == ".md" else []
    files.append(File.generated(config, HOME[1], abs_src_path=str(ROOT / HOME[0])))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as they are in the site, where docs/ is the root that README and results/ hang on."""
    outside = not Path(page.file.abs_src_path or "").is_relative_to(ROOT / "docs")
    return TARGET.sub(lambda m: _in_site(m[1], outside), markdown)


def _in_site(target: str, outside: bool) -> str:
    if re.match("[a-z]+:", target):
        return target
    found = target.removeprefix("docs/") if outside else target.removeprefix("../")
    return HOME[1] if found == HOME[0] else found
