"""The columns of a table of records, their order, kind and titles: the schema's keys, joined by dots."""

import types
import typing
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bench.records.schema import Record


def _members(kind: Any) -> tuple[Any, ...]:
    """The types that a field's type allows: itself, or the members of a union, without what narrows them."""
    found = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    return tuple(k.__origin__ if typing.get_origin(k) is Annotated else k for k in found)


def _leaves(model: type[BaseModel], prefix: str = "", above: Sequence[FieldInfo] = ()) -> Iterator[tuple[str, list[FieldInfo]]]:
    """Every key below a model that holds a value, as a dotted column, with the fields that lead to it, its own the last."""
    for name, field in model.model_fields.items():
        column, fields = prefix + (field.alias or name), [*above, field]
        if parts := [k for k in _members(field.annotation) if isinstance(k, type) and issubclass(k, BaseModel)]:
            yield from _leaves(parts[0], f"{column}.", fields)
        else:
            yield column, fields


_FIELDS = dict(_leaves(Record))
COLUMNS = [column for column, fields in _FIELDS.items() if not any(f.json_schema_extra for f in fields)]
"""Of every table of records, in the order of results.csv; metrics and environment follow."""

WORDS = ("_sha256", ".reference", ".reference_name", ".resize", ".rounding")
"""Ends of the columns of a metric that hold text."""


def title_of(column: str) -> str:
    """What tables call a column: the title of its field or of the part that holds it, else its key in words."""
    titles = [f.title for f in _FIELDS.get(column, ()) if f.title]
    return titles[-1] if titles else column.rpartition(".")[2].replace("_", " ")


def axis_of(column: str) -> str:
    """What axes call a column, with its unit: the description of its field or of the part that holds it, else its title."""
    descriptions = [f.description for f in _FIELDS.get(column, ()) if f.description]
    return descriptions[-1] if descriptions else title_of(column)


def is_number(column: str) -> bool:
    """Whether a column of records holds numbers, by the schema or, of a metric's or a card's own key, by its name."""
    if column in _FIELDS:
        return any(k in (int, float) for k in _members(_FIELDS[column][-1].annotation))
    return not (column in ("run", "edited") or column.startswith("environment.") or column.endswith(WORDS))
