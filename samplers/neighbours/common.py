"""What the samplers of all libraries share: finding the library, and options read from the signature of what is wrapped."""

import importlib.util
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from samplers.errors import UserError, unknown
from samplers.protocol import Card


def needed(module: str, extra: str) -> None:
    """Refuse to go on without a library.

    Raises:
        UserError: it is not installed.
    """
    if importlib.util.find_spec(module) is None:
        raise UserError(f"{module} is not installed; pip install 'sampler-bench[{extra}]'")


def card_of(library: str, name: str, cards: Mapping[str, Card], left_out: Mapping[str, str]) -> Card:
    """The card of one of a library's samplers.

    Raises:
        UserError: there is none of that name, or it is no sampler here, and why.
    """
    if name in left_out:
        raise UserError(f"{library}:{name} is no sampler here: {left_out[name]}")
    if name not in cards:
        raise unknown(f"sampler of {library}", name, cards)
    return cards[name]


def offered(of: Callable, but: Iterable[str]) -> list[inspect.Parameter]:
    """The parameters of a function or a class that a spec can set: with a number, a word or true and false as default."""
    found = inspect.signature(of).parameters.values()
    simple = [p for p in found if isinstance(p.default, bool | int | float | str) and p.name not in but]
    return [p.replace(kind=p.KEYWORD_ONLY, annotation=p.empty) for p in simple]


def read(options: Mapping[str, Any], parameters: Iterable[inspect.Parameter], owner: str) -> dict[str, Any]:
    """Options as the library takes them: true and false for those whose default is one of them.

    Raises:
        UserError: an option that there is not, or one that is neither true nor false.
    """
    known, values = {p.name: p.default for p in parameters}, dict[str, Any]()
    for key, value in options.items():
        if key not in known:
            raise unknown(f"option of {owner}", key, known)
        if isinstance(known[key], bool) and not isinstance(value, bool):
            if str(value).lower() not in ("true", "false"):
                raise UserError(f"{owner}: {key} must be true or false, not '{value}'")
            value = str(value).lower() == "true"
        values[key] = value
    return values
