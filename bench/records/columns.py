"""The columns of a table of records, their order and their kind: the schema's keys, joined by dots."""

import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel

from bench.records.schema import Record


def _members(kind: Any) -> tuple[Any, ...]:
    """The types that a field's type allows: itself, or the members of a union, without what narrows them."""
    found = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    return tuple(k.__origin__ if typing.get_origin(k) is Annotated else k for k in found)


def _leaves(model: type[BaseModel], prefix: str = "", always: bool = True) -> Iterator[tuple[str, Any, bool]]:
    """Every key below a model that holds a value, as a dotted column: (column, type, whether every table has it)."""
    for name, field in model.model_fields.items():
        column = prefix + (field.alias or name)
        here = always and (field.json_schema_extra or {}).get("column", True) is True  # type: ignore[union-attr]
        if parts := [k for k in _members(field.annotation) if isinstance(k, type) and issubclass(k, BaseModel)]:
            yield from _leaves(parts[0], f"{column}.", here)
        else:
            yield column, field.annotation, here


_LEAVES = list(_leaves(Record))
_KINDS = {column: kind for column, kind, _ in _LEAVES}
COLUMNS = [column for column, _, always in _LEAVES if always]
"""Of every table of records, in the order of results.csv; metrics and environment follow."""


def is_number(column: str) -> bool:
    """Whether a column of records holds numbers, by the schema or, of a metric's or a card's own key, by its name."""
    if column in _KINDS:
        return any(k in (int, float) for k in _members(_KINDS[column]))
    return not (column == "run" or column.startswith("environment.") or column.endswith(("_sha256", ".reference")))
