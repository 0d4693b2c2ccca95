"""Find plug-ins, ours and strangers' alike: entry points of the groups `bench.samplers`, `bench.teachers` and their like."""

import inspect
import re
from copy import copy
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, get_args, get_type_hints

from pydantic import ConfigDict, Field, ValidationError, create_model

from samplers.errors import PluginError, UserError, defined, foreign, one_line, package_at, unknown
from samplers.protocol import Card, Sampler
from samplers.spec import Spec

GROUP, NEIGHBOURS, TRAINERS = "bench.samplers", "bench.neighbours", "bench.trainers"
"""Entry points of samplers; of libraries that have many, whose modules have `CARDS` and `load(name)`; of trainers."""
OURS = "sampler-bench"
LOADING = 120.0
"""Seconds that an import may take, or making a sampler: a large library on a busy machine needs one of these minutes."""
MEND = "its author must mend it"
HELD: dict[tuple[str, str], Any] = {}
"""Objects of this process by group and name, found before entry points."""
_TEXT = Annotated[str, Field(max_length=2000)]
_FIELDS: dict[str, Any] = {key: (_TEXT if kind is str else kind, ...) for key, kind in get_type_hints(Card).items()}
_CARD = create_model("_CARD", __config__=ConfigDict(strict=True), **_FIELDS)


@cache
def entries(group: str) -> dict[str, EntryPoint]:
    """Name -> entry point of a group, sorted by name.

    A name that several packages have is ours if it is ours, else nobody's: the others go by "PACKAGE:NAME".
    """
    usable = [e for e in _sorted(group) if _tellable(e)]
    found: dict[str, EntryPoint] = {}
    for e in usable:
        alone = {package_of(other) for other in usable if other.name == e.name} == {package_of(e)}
        found.setdefault(e.name if alone or package_of(e) == OURS else f"{package_of(e)}:{e.name}", e)
    return dict(sorted(found.items()))


def refused(group: str) -> dict[str, str]:
    """Why entry points of a group are not used, by "NAME of PACKAGE"."""
    why: dict[str, str] = {}
    for e in _sorted(group):
        if not _tellable(e):
            why[f"{one_line(e.name, 60)} of {package_of(e)}"] = "a name may hold none of : = @"
        elif e not in entries(group).values():
            why[f"{e.name} of {package_of(e)}"] = "the package has this name twice"
    return why


def package_of(entry: EntryPoint) -> str:
    """The installed package that an entry point comes from, as package indexes spell it."""
    return canonical(str(entry.dist.name)) if entry.dist is not None else ""


def find(group: str, name: str) -> EntryPoint | None:
    """The entry point of a group by its name, or by "PACKAGE:NAME", which tells any from its namesakes."""
    package, _, own = name.rpartition(":")
    known = entries(group)
    theirs = (e for e in known.values() if package and (package_of(e), e.name) == (canonical(package), own))
    return known.get(name) or next(theirs, None)


def load_entry(group: str, name: str) -> Any:
    """What the entry point `name` of a group stands for.

    Raises:
        UserError: an unknown name, or one of several packages.
        PluginError: a plug-in whose import fails.
    """
    kind = group.removeprefix("bench.").removesuffix("s")
    entry = find(group, name)
    if entry is None:
        known = entries(group)
        if same := [key for key, e in known.items() if e.name == name]:
            raise UserError(f"{kind} '{one_line(name)}' is of several packages; write {' or '.join(same)}")
        raise unknown(kind, name, known)
    top = entry.module.partition(".")[0]
    with foreign(f"{_told(kind, name)} cannot be imported", "install what it needs", top, LOADING):
        try:
            return entry.load()
        except UserError as e:  # none of this one's user
            raise ImportError(str(e)).with_traceback(e.__traceback__) from e


def _told(kind: str, name: str) -> str:
    """A plug-in in a message."""
    entry = find(f"bench.{kind}s", name)
    return f"{kind} '{one_line(name, 60)}'" + (f" of {one_line(package_of(entry), 60)}" if entry is not None else "")


def _sorted(group: str) -> list[EntryPoint]:
    return sorted(entry_points(group=group), key=lambda e: (e.name, package_of(e), e.value))


def _tellable(entry: EntryPoint) -> bool:
    """Whether its name can stand in a spec, after its package's too."""
    try:
        Spec(f"{package_of(entry)}:{entry.name}".removeprefix(":"))
    except UserError:
        return False
    return ":" not in entry.name


def canonical(package: str) -> str:
    """The name of a package as package indexes spell it."""
    return re.sub(r"[-_.]+", "-", package).lower()


def load_spec(group: str, spec: str) -> tuple[Any, str]:
    """(the loader, REST) of "KIND:REST", where KIND is an entry point of a group; without a KIND it is that of "zoo".

    KIND may be "PACKAGE:KIND". A drive's letter is not a KIND, nor is what stands before a colon further on in a path.

    Raises:
        UserError: as `load_entry`.
    """
    kind, colon, rest = spec.partition(":")
    if not colon or not re.fullmatch(r"[A-Za-z_][\w-]+", kind):
        kind, rest = "zoo", spec
    elif find(group, kind) is None and find(group, longer := f"{kind}:{rest.partition(':')[0]}") is not None:
        kind, rest = longer, rest.partition(":")[2]
    return load_entry(group, kind), rest


def names() -> list[str]:
    """Names of all installed samplers, sorted."""
    return list(entries(GROUP))


def load(name: str) -> type[Sampler]:
    """The class of a sampler.

    Raises:
        UserError: as `load_entry`.
        PluginError: as `load_entry`, or it is no class of samplers, or its card does not say what it must.
    """
    held, told = HELD.get((GROUP, name)), _told("sampler", name)
    found = _found(name) if held is None else type(held) if isinstance(held, Sampler) else held
    with foreign(f"{told} cannot be looked at", MEND, package_at(found), LOADING):
        wrong = _wrong(name, found)
    if wrong:
        where = defined(found)
        raise PluginError(f"{told} {wrong}{f', {where}' if where else ''}; {MEND}")
    return found


def _found(name: str) -> Any:
    """What the name of a sampler stands for: an entry point, or LIBRARY:NAME where no package of that name has one."""
    library, colon, own = name.partition(":")
    if colon and find(GROUP, name) is None and library in entries(NEIGHBOURS):
        return load_entry(NEIGHBOURS, library).load(own)
    return load_entry(GROUP, name)


def neighbours() -> dict[str, Card]:
    """The cards of other libraries' samplers, by LIBRARY:NAME; the libraries need not be installed."""
    cards = {library: load_entry(NEIGHBOURS, library).CARDS for library in entries(NEIGHBOURS)}
    return {f"{library}:{name}": card for library, own in cards.items() for name, card in own.items()}


def _wrong(name: str, found: Any) -> str:
    """What is wrong with what an entry point stands for; "" for a sampler."""
    if not (inspect.isclass(found) and issubclass(found, Sampler)):
        return f"is no subclass of samplers.Sampler but {one_line(repr(found), 60)}"
    if lacking := sorted(found.__abstractmethods__):
        return f"lacks {', '.join(lacking)}"
    return _wrong_card(name, getattr(found, "card", None))


def _wrong_card(name: str, own: Any) -> str:
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
    called = own.name == name.rpartition(":")[2] or (GROUP, name) in HELD  # which is called by its class
    return "" if called else f"has a card of the name {one_line(repr(own.name), 60)}"


def card(name: str) -> Card:
    """The card of a sampler."""
    return load(name).card


def get(spec: Spec | str) -> Sampler:
    """A sampler from its name and options, as in "ddim", "ddim:eta=0.5" or "heun:grid=logsnr"; its steps say nothing here.

    Options are the keyword-only arguments of the class; one that is annotated as a number, or whose default is one, is read as
    such.

    Raises:
        UserError: unknown name or option, or a value that does not fit.
        PluginError: a plug-in that cannot be used.
    """
    spec = Spec.parse(spec) if isinstance(spec, str) else spec
    held = HELD.get((GROUP, spec.name))
    if held is None and find(GROUP, spec.name) is None and spec.head in entries(GROUP):
        option = spec.name.rpartition(":")[2]
        raise UserError(f"{one_line(spec)}: write the option as {one_line(option)}=VALUE")
    kind = load(spec.name)
    if isinstance(held, Sampler):
        if spec.options:
            raise UserError(f"{one_line(spec)}: an object has its options already; leave out {one_line(spec.options[0][0])}")
        return copy(held)  # a cell's own: it may be made ready for other steps than the next
    options = {k: p for k, p in inspect.signature(kind).parameters.items() if p.kind is p.KEYWORD_ONLY}
    values: dict[str, float | int | str] = {}
    for key, text in spec.options:
        if key not in options:
            raise unknown(f"option of {spec.name}", key, options)
        kinds = (*get_args(options[key].annotation), options[key].annotation, type(options[key].default))
        kind_of_it = next((k for k in (int, float) if k in kinds), str)
        try:
            values[key] = kind_of_it(text)
        except ValueError as e:
            told = "a whole number" if kind_of_it is int else "a number"
            raise UserError(f"{one_line(spec)}: {key} must be {told}, not '{one_line(text)}'") from e
    told, fix = _told("sampler", spec.name), "look at its options" if values else MEND
    with foreign(f"{told} cannot be made", fix, package_at(kind), LOADING):
        made = kind(**values)
        wrong = _wrong_card(spec.name, made.card)
    if wrong:
        raise PluginError(f"{told} {wrong}; {MEND}")
    return made
