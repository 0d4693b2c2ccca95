"""Find samplers by name, ours and strangers' alike: entry points of the group `bench.samplers`."""

import inspect
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from samplers.errors import UserError, unknown
from samplers.protocol import Card, Sampler

GROUP = "bench.samplers"


@cache
def _entries() -> dict[str, EntryPoint]:
    return {e.name: e for e in entry_points(group=GROUP)}


def names() -> list[str]:
    """Names of all installed samplers, sorted."""
    return sorted(_entries())


def load(name: str) -> type[Sampler]:
    """The class of a sampler.

    Raises:
        UserError: an unknown name, or a plug-in whose import fails.
    """
    if name not in _entries():
        raise unknown("sampler", name, _entries())
    try:
        return _entries()[name].load()
    except (ImportError, AttributeError, SyntaxError) as e:
        raise UserError(f"sampler '{name}' cannot be imported ({e}); install what it needs") from e


def card(name: str) -> Card:
    """The card of a sampler."""
    return load(name).card


def get(spec: str) -> Sampler:
    """A sampler from its name and options, as in "ddim", "ddim:eta=0.5" or "heun:grid=logsnr".

    Options are the keyword-only arguments of the class; one whose default is a number is read as a number of that type.

    Raises:
        UserError: unknown name or option, or a value that does not fit.
    """
    name, *options = spec.split(":")
    kind = load(name)
    known = {k: p for k, p in inspect.signature(kind).parameters.items() if p.kind is p.KEYWORD_ONLY}
    values: dict[str, float | int | str] = {}
    for option in options:
        key, equals, text = option.partition("=")
        if key not in known:
            raise unknown(f"option of {name}", key, known)
        if not equals:
            raise UserError(f"{spec}: write the option as {key}=VALUE")
        default = known[key].default
        try:
            values[key] = type(default)(text) if type(default) in (int, float) else text
        except ValueError as e:
            raise UserError(f"{spec}: {key} must be a number, not '{text}'") from e
    return kind(**values)
