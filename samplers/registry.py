"""Find plug-ins, ours and strangers' alike: entry points of the groups `bench.samplers`, `bench.teachers` and their like."""

import inspect
import re
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from samplers.errors import UserError, one_line, unknown
from samplers.protocol import Card, Sampler
from samplers.spec import Spec

GROUP = "bench.samplers"


@cache
def entries(group: str) -> dict[str, EntryPoint]:
    """Name -> entry point of a group, sorted by name."""
    return {e.name: e for e in sorted(entry_points(group=group), key=lambda e: e.name)}


def load_entry(group: str, name: str) -> Any:
    """What the entry point `name` of a group stands for.

    Raises:
        UserError: an unknown name, or a plug-in whose import fails.
    """
    kind = group.removeprefix("bench.").removesuffix("s")
    if name not in entries(group):
        raise unknown(kind, name, entries(group))
    try:
        return entries(group)[name].load()
    except (Exception, SystemExit) as e:  # a stranger's module may raise anything
        raise UserError(f"{kind} '{name}' cannot be imported ({one_line(e)}); install what it needs") from e


def load_spec(group: str, spec: str) -> tuple[Any, str]:
    """(the loader, REST) of "KIND:REST", where KIND is an entry point of a group; without a KIND it is that of "zoo".

    A drive's letter is not a KIND, nor is what stands before a colon further on in a path.

    Raises:
        UserError: as `load_entry`.
    """
    kind, colon, rest = spec.partition(":")
    if not colon or not re.fullmatch(r"[A-Za-z_][\w-]+", kind):
        kind, rest = "zoo", spec
    return load_entry(group, kind), rest


def names() -> list[str]:
    """Names of all installed samplers, sorted."""
    return list(entries(GROUP))


def load(name: str) -> type[Sampler]:
    """The class of a sampler.

    Raises:
        UserError: as `load_entry`.
    """
    return load_entry(GROUP, name)


def card(name: str) -> Card:
    """The card of a sampler."""
    return load(name).card


def get(spec: Spec | str) -> Sampler:
    """A sampler from its name and options, as in "ddim", "ddim:eta=0.5" or "heun:grid=logsnr"; its steps say nothing here.

    Options are the keyword-only arguments of the class; one whose default is a number is read as a number of that type.

    Raises:
        UserError: unknown name or option, or a value that does not fit.
    """
    spec = Spec.parse(spec) if isinstance(spec, str) else spec
    if spec.name not in (known := entries(GROUP)) and spec.head in known:
        option = spec.name.rpartition(":")[2]
        raise UserError(f"{one_line(spec)}: write the option as {one_line(option)}=VALUE")
    kind = load(spec.name)
    options = {k: p for k, p in inspect.signature(kind).parameters.items() if p.kind is p.KEYWORD_ONLY}
    values: dict[str, float | int | str] = {}
    for key, text in spec.options:
        if key not in options:
            raise unknown(f"option of {spec.name}", key, options)
        default = options[key].default
        try:
            values[key] = type(default)(text) if type(default) in (int, float) else text
        except ValueError as e:
            raise UserError(f"{one_line(spec)}: {key} must be a number, not '{one_line(text)}'") from e
    return kind(**values)
