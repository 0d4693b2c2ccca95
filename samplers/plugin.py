"""A file of samplers used in one process without installing it: `--plugin FILE.py`."""

import importlib.util
import inspect
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

from samplers.errors import PluginError, UserError, foreign, one_line
from samplers.protocol import Card, Sampler
from samplers.registry import GROUP, HELD, LOADING, TRAINERS, entries, names
from samplers.training.trainer import Trainer

_used: dict[Path, list[str]] = {}
"""Files that this process uses, and their samplers."""


def used_files() -> list[Path]:
    """Files of `use_file`, so that another process can use them too."""
    return list(_used)


def use_file(path: Path) -> list[str]:
    """Import a file, once; the samplers it defines are then found by their cards' names, which are returned.

    So are its students' trainers, by their sections' names.

    Raises:
        UserError: no such file, one that defines no sampler with a card, or a name that another sampler or trainer has.
        PluginError: its import fails.
    """
    if (known := _used.get(path.absolute())) is not None:
        return known
    if not path.is_file():
        raise UserError(f"no file {path}; --plugin names a Python file of samplers")
    module = path.stem
    if not module.isidentifier() or not _is(path, importlib.util.find_spec(module)):
        raise UserError(f"{path}: '{one_line(module, 60)}' cannot be its module's name; rename the file, as my_sampler.py")
    spec = importlib.util.spec_from_file_location(module, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: no Python file; its name must end in .py")
    made = sys.modules[module] = importlib.util.module_from_spec(spec)
    try:
        with foreign(f"{path} cannot be imported", "mend it", module, LOADING):
            spec.loader.exec_module(made)
    except PluginError:
        del sys.modules[module]
        raise
    own = [v for v in vars(made).values() if inspect.isclass(v) and v.__module__ == module]
    kinds = [v for v in own if issubclass(v, Sampler) and isinstance(vars(v).get("card"), Card)]
    trainers = {v.section: v for v in own if issubclass(v, Trainer) and isinstance(vars(v).get("section"), str)}
    found = {kind.card.name: kind for kind in kinds}
    if not found:
        raise UserError(f"{path} defines no sampler: write a class of samplers.Sampler with a card")
    if taken := sorted(name for name in found if name in names() or (GROUP, name) in HELD):
        raise UserError(f"{path}: a sampler '{one_line(taken[0], 60)}' is there already; give it another name in its card")
    if taken := sorted(name for name in trainers if name in entries(TRAINERS) or (TRAINERS, name) in HELD):
        raise UserError(f"{path}: a trainer '{one_line(taken[0], 60)}' is there already; give it another section")
    HELD.update({(GROUP, name): kind for name, kind in found.items()})
    HELD.update({(TRAINERS, name): kind for name, kind in trainers.items()})
    _used[path.absolute()] = list(found)
    return list(found)


def _is(path: Path, there: ModuleSpec | None) -> bool:
    """Whether a module's name is free, or this very file's, as in the folder that Python was started in."""
    return there is None or (there.origin is not None and Path(there.origin).resolve() == path.resolve())
