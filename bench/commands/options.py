"""What the commands share: consoles, flags, and the options that are made from the fields of a class of settings."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo
from rich.console import Console

from samplers.errors import UserError, clipped
from samplers.refusals import members
from samplers.settings import Settings

console = Console()
errors = Console(stderr=True)
"""For what is not the result, so that a table can be piped."""
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
Zoo = Annotated[list[Path] | None, typer.Option(help="folder of trainings whose cards count as shipped; repeatable")]
Plugins = Annotated[
    list[Path] | None, typer.Option("--plugin", help="file of samplers, and their training, to use as it is; repeatable")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="no progress")]
Markdown = Annotated[bool, typer.Option("--markdown", help="print Markdown, as into a pipe or a file")]


def say(line: str, style: str | None = None) -> None:
    """A line of the result, without markup; one line where there is no terminal."""
    console.print(line, style=style, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def options_of(settings: type[Settings], *, but: str = "") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each field of `settings`, in the place of its parameter `given`.

    The command gets a dictionary there, of the fields that were given; the others are left to a file, or to their default.

    Args:
        settings: whose fields.
        but: a field that is no option.
    """
    fields = {k: f for k, f in settings.model_fields.items() if k != but}
    options, panel = [], None
    for k, f in fields.items():
        panel = settings.headings.get(k, panel)
        kind = _option(f, panel)
        options.append(inspect.Parameter(k, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind))

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**values: Any) -> None:
            asked = {k: v for k in fields if (v := values.pop(k)) is not None}
            given = {k: listed(k, v, item) if (item := _item(fields[k])) else v for k, v in asked.items()}
            command(given=given, **values)

        own = inspect.signature(command).parameters.values()
        made = [p.replace(kind=p.KEYWORD_ONLY) for o in own for p in (options if o.name == "given" else [o])]
        run.__signature__ = inspect.Signature(made)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in made}
        return run

    return decorate


def listed(flag: str, text: str, kind: type = str) -> tuple:
    """A comma-separated flag as its items.

    Raises:
        UserError: none, or one of another kind.
    """
    items = [item.strip() for item in text.split(",") if item.strip()]
    if not items:
        raise UserError(f"--{flag} is given without a value; leave it out, or give some, separated by commas")
    try:
        return tuple(kind(item) for item in items)
    except ValueError as e:
        raise UserError(f"--{flag}: {clipped(text)} is not a comma-separated list of {'whole ' * (kind is int)}numbers") from e


def flags(given: Mapping[str, Any]) -> list[str]:
    """The flags by which fields were given."""
    return [f"--{'no-' if v is False else ''}{k.replace('_', '-')}" for k, v in given.items()]


def add_zoos(folders: str | Path | Sequence[str | Path] | None) -> None:
    """Make the cards in a folder, or in several, known.

    Raises:
        UserError: no such folder.
    """
    from samplers.models.zoo import add_zoo

    for folder in [folders] if isinstance(folders, str | Path) else folders or ():
        add_zoo(Path(folder))


def add_plugins(files: str | Path | Sequence[str | Path] | None) -> None:
    """Make the samplers in a file, or in several, known.

    Raises:
        UserError: no such file, or no samplers in it.
    """
    if files:
        from samplers.plugin import use_file

        for file in [files] if isinstance(files, str | Path) else files:
            use_file(Path(file))


def _item(field: FieldInfo) -> type | None:
    """The type of the items of a list; None of a field that is none."""
    kinds = list(members(field.annotation))
    return next((k for k in (int, float) if k in kinds), str) if any(get_origin(k) is tuple for k in kinds) else None


def _option(field: FieldInfo, panel: str | None) -> Any:
    """The type that Typer reads: lists and shares as words, which `listed` and the settings take apart."""
    kinds = list(members(field.annotation))
    share = any(isinstance(m, BeforeValidator) for m in (*kinds, *field.metadata))
    kind = next((k for k in (bool, int, float) if k in kinds and not share and _item(field) is None), str)
    default = ", ".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
    notes = [", ".join(get_args(k)) for k in kinds if get_origin(k) is Literal]
    notes += ["comma-separated"] if _item(field) else []
    notes += [f"default: {'on' if default is True else default}"] if default not in (None, "", False) or default == 0 else []
    help_text = f"{field.description} ({'; '.join(notes)})" if notes else field.description
    return Annotated[kind | None, typer.Option(help=help_text, rich_help_panel=panel)]
