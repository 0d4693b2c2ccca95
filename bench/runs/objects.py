"""Objects where a plan has names: `bench.run(teacher=mine, samplers=[Own(), "ddim"])`."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from samplers.errors import UserError, clipped
from samplers.protocol import Sampler
from samplers.registry import GROUP, HELD

TEACHERS = "bench.teachers"


@contextmanager
def named(options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The options with a name for each object among teacher, guide, sampler and samplers, which in the block stands for it.

    The name is MODULE:QUALNAME, of the object or of its class. Modules are put in the mode they were in at the end.

    Raises:
        UserError: two objects of one name, a class in the place of a teacher, or a cold start asked for.
    """
    told, held = dict(options), dict[tuple[str, str], Any]()

    def name(group: str, value: Any) -> str:
        called = value if hasattr(value, "__qualname__") else type(value)
        key = (group, f"{called.__module__}:{called.__qualname__}")
        if held.setdefault(key, value) is not value:
            raise UserError(f"two objects are called {key[1]}; give one of them a class of its own")
        return key[1]

    for field in ("teacher", "guide"):
        value = options.get(field)
        if inspect.isclass(value):
            raise UserError(f"{field} is the class {clipped(value.__qualname__)}; give an object of it")
        if callable(value):
            told[field] = f"python:{name(TEACHERS, value)}"
    if _is_sampler(options.get("sampler")):
        told["sampler"] = name(GROUP, options["sampler"])
    listed = options.get("samplers")
    if _is_sampler(listed) or isinstance(listed, list | tuple):
        items = listed if isinstance(listed, list | tuple) else [listed]
        told["samplers"] = tuple(name(GROUP, s) if _is_sampler(s) else s for s in items)
    if held and options.get("cold_start"):
        raise UserError("cold_start is timed in a fresh process, which has no objects of this one; name them, or leave it out")
    modes = [(m, m.training) for value in held.values() if isinstance(value, nn.Module) for m in value.modules()]
    HELD.update(held)
    try:
        yield told
    finally:
        for key in held:
            del HELD[key]
        for module, training in modes:
            module.training = training


def _is_sampler(value: Any) -> bool:
    return isinstance(value, Sampler) or (inspect.isclass(value) and issubclass(value, Sampler))
