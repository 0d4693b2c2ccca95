"""What `bench list` says of the samplers of other libraries, whether they are installed or not."""

import importlib.util
from collections.abc import Callable, Collection, Iterator, Mapping

from samplers.errors import UserError, unknown
from samplers.neighbours.common import card_of
from samplers.protocol import Card
from samplers.registry import NEIGHBOURS, entries, load_entry


def neighbour_facts(formula: Callable[[Card], str]) -> Iterator[tuple[str, dict[str, str]]]:
    """(LIBRARY:NAME, what its card says) of each, and why others of the library are no samplers here.

    Args:
        formula: a card's calls in words.
    """
    for library in entries(NEIGHBOURS):
        module = load_entry(NEIGHBOURS, library)
        there = importlib.util.find_spec(library) is not None
        for name, c in module.CARDS.items():
            yield (
                f"{library}:{name}",
                {
                    "order": str(c.order or ""),
                    "calls for N steps": formula(c),
                    "grid": c.grid or "",
                    "draws noise": "no" if c.deterministic else "yes",
                    "where that comes from": c.setting,
                    "note": c.note,
                    "needs": "" if there else f"pip install 'sampler-bench[{module.EXTRA}]'",
                    "left out": _left_out(module.LEFT_OUT),
                },
            )


def _left_out(reasons: Mapping[str, str]) -> str:
    """The names of each reason."""
    names = dict[str, list[str]]()
    for name, why in reasons.items():
        names.setdefault(why, []).append(name)
    return "; ".join(f"{', '.join(own)} ({why})" for why, own in names.items())


def not_listed(name: str, names: Collection[str]) -> UserError:
    """That nothing is listed by a name; of another library's, why it is no sampler here."""
    library, _, own = name.partition(":")
    if library in entries(NEIGHBOURS):
        module = load_entry(NEIGHBOURS, library)
        try:
            card_of(library, own, module.CARDS, module.LEFT_OUT)
        except UserError as e:
            return e
    return unknown("name", name, names)
