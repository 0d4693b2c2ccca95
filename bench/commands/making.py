"""`bench new`: a package to start from."""

import importlib.util
import re
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from bench.commands.options import console
from samplers.errors import UserError, one_line, unknown

TEMPLATES = Path(__file__).parent / "templates"


def new(
    what: Annotated[str, typer.Argument(help="sampler (a solver) or student (a sampler with a network, and its training)")],
    name: Annotated[str, typer.Argument(help="of it, of its module and its folder, as my_solver")],
    out: Annotated[Path, typer.Option(help="where its folder is made")] = Path("."),
) -> None:
    """Write a package that installs, runs, is verified and has its test; then put your own formula in."""
    written = write_package(what, name, out)
    folder = written[0].parent
    for path in written:
        console.print(f"  {path}", highlight=False, soft_wrap=True)
    train = [f"bench train {name} --recipe {folder}/recipe.yaml"] if what == "student" else []
    for line in (f"pip install -e {folder}", *train, f"bench verify {name}{' --zoo training' if train else ''}"):
        console.print(line, highlight=False, soft_wrap=True)


def write_package(what: str, name: str, out: Path) -> list[Path]:
    """The files of a new package, in the folder `out` / `name`.

    Raises:
        UserError: another kind, a name that cannot be or is taken, a folder that is there.
    """
    from samplers.registry import names

    kinds = sorted(p.name for p in TEMPLATES.iterdir())
    if what not in kinds:
        raise unknown("kind of package", what, kinds)
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise UserError(f"'{one_line(name, 60)}' cannot be a name; use small letters, digits and _, as my_solver")
    folder = out / name
    if folder.exists():
        raise UserError(f"{folder} is there already; choose another name, or another folder by --out")
    if name in names() or importlib.util.find_spec(name) is not None:
        raise UserError(f"'{name}' is taken by a sampler or a module that is installed; choose another name")
    words = {"name": name, "package": name.replace("_", "-"), "kind": "".join(map(str.capitalize, name.split("_")))}
    folder.mkdir(parents=True)
    written = []
    for template in sorted((TEMPLATES / what).iterdir()):
        path = folder / template.name.removesuffix(".txt").replace("NAME", name)
        path.write_text(Template(template.read_text()).substitute(words))
        written.append(path)
    return written
