"""The lazy face of a package: its public names are imported when they are first asked for, so importing it loads no torch."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(
    package: dict[str, Any], homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package (PEP 562).

    Args:
        package: its `globals()`, which keep each name once it was asked for.
        homes: public names, parted by blanks, by the module that holds them. No module of the package itself may have the name
            of what it holds: once imported, it would stand in its place.
    """
    home = {name: module for module, names in homes.items() for name in names.split()}

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module '{package['__name__']}' has no attribute '{name}'")
        return package.setdefault(name, getattr(import_module(home[name]), name))

    return get, lambda: sorted({*package, *home}), sorted(home)
