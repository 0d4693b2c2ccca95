"""Find plug-ins, ours and strangers' alike: entry points of the groups `bench.samplers`, `bench.teachers` and their like."""

import inspect
import re
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, get_type_hints

from pydantic import ConfigDict, Field, ValidationError, create_model

from samplers.errors import UserError, foreign, one_line, unknown
from samplers.protocol import Card, Sampler
from samplers.spec import Spec

GROUP = "bench.samplers"
OURS = "sampler-bench"
_TEXT = Annotated[str, Field(max_length=2000)]
_FIELDS: dict[str, Any] = {key: (_TEXT if kind is str else kind, ...) for key, kind in get_type_hints(Card).items()}
_CARD = create_model("_CARD", __config__=ConfigDict(strict=True), **_FIELDS)


@cache
def entries(group: str) -> dict[str, EntryPoint]:
    """Name -> entry point of a group, sorted by name; of several of one name ours, else that of the first package."""
    found: dict[str, EntryPoint] = {}
    for e in sorted(entry_points(group=group), key=lambda e: (e.name, package_of(e) != OURS, package_of(e))):
        found.setdefault(e.name, e)
    return found


def refused(group: str) -> dict[str, str]:
    """Why entry points of a group are not used, by "NAME of PACKAGE": another package has the name already."""
    others = [e for e in entry_points(group=group) if package_of(e) != package_of(entries(group)[e.name])]
    return {f"{e.name} of {package_of(e)}": f"{package_of(entries(group)[e.name])} has this name" for e in others}


def package_of(entry: EntryPoint) -> str:
    """The installed package that an entry point comes from."""
    return str(entry.dist.name) if entry.dist is not None else ""


def load_entry(group: str, name: str) -> Any:
    """What the entry point `name` of a group stands for.

    Raises:
        UserError: an unknown name, or a plug-in whose import fails.
    """
    kind = group.removeprefix("bench.").removesuffix("s")
    if name not in entries(group):
        raise unknown(kind, name, entries(group))
    with foreign(f"{kind} '{name}' cannot be imported", "install what it needs"):
        return entries(group)[name].load()


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
        UserError: as `load_entry`, or it is no class of samplers, or its card does not say what it must.
    """
    found = load_entry(GROUP, name)
    with foreign(f"sampler '{name}' cannot be looked at", "its author must mend it"):
        wrong = _wrong(name, found)
    if wrong:
        raise UserError(f"sampler '{name}' of {package_of(entries(GROUP)[name])} {wrong}; its author must mend it")
    return found


def _wrong(name: str, found: Any) -> str:
    """What is wrong with what an entry point stands for; "" for a sampler."""
    if not (inspect.isclass(found) and issubclass(found, Sampler)):
        return f"is no subclass of samplers.Sampler but {one_line(repr(found), 60)}"
    own = getattr(found, "card", None)
    if not isinstance(own, Card):
        return "has no card (samplers.Card)"
    try:
        _CARD.model_validate(vars(own))
        calls = [own.calls(n) for n in own.steps or (1, 2, 3)]
    except ValidationError as e:
        first = e.errors()[0]
        return f"has a card whose {first['loc'][0]} is {one_line(repr(first['input']), 60)} ({one_line(first['msg'], 60)})"
    except Exception as e:
        return f"has a card whose calls raise {type(e).__name__} ({one_line(e, 60)})"
    if not all(isinstance(n, int) and n > 0 for n in calls):
        return f"has a card whose calls are {one_line(calls, 60)}"
    return "" if own.name == name else f"has a card of the name {one_line(repr(own.name), 60)}"


def card(name: str) -> Card:
    """The card of a sampler."""
    return load(name).card


def get(spec: Spec | str) -> Sampler:
    """A sampler from its name and options, as in "ddim", "ddim:eta=0.5" or "heun:grid=logsnr"; its steps say nothing here.

    Options are the keyword-only arguments of the class; one whose default is a number is read as a number of that type.

    Raises:
        UserError: unknown name or option, a value that does not fit, or a plug-in that cannot be used.
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
    with foreign(f"sampler '{spec.name}' cannot be made", "look at its options"):
        return kind(**values)
