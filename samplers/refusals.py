"""Pydantic's errors as the house tells them: one line, with key, line and what to write instead."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from samplers.documents import Document
from samplers.errors import UserError, clipped, one_line, unknown

UNKNOWN = ("extra_forbidden", "invalid_key")
TYPES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a word",
    "string_unicode": "a word",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "a section of 'key: value' lines",
    "dict_type": "a section of 'key: value' lines",
    "none_required": "null",
}
BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def refusal(model: type[BaseModel], error: ValidationError, document: Document | None, options: Mapping[str, Any]) -> UserError:
    """The first of the errors, by line; an unknown key before all others, since it may be why another is missing.

    Args:
        model: what was to be made.
        error: pydantic's.
        document: what its keys come from, if from a file.
        options: what was given over them.
    """

    def of_file(e: ErrorDetails) -> bool:
        return document is not None and not (e["loc"] and e["loc"][0] in options)

    def order(e: ErrorDetails) -> tuple[bool, int]:
        return e["type"] not in UNKNOWN, document.line(e["loc"]) if document and of_file(e) else 0

    first = min(error.errors(include_url=False), key=order)
    told = _told(model, first, "key" if of_file(first) else "argument")
    if document is None or not of_file(first):
        return UserError(told)
    sections = "".join(f"{k}: " for k in document.section_keys)
    return UserError(f"{document.place(first['loc'])}: {sections}{told}")


def _told(model: type[BaseModel], error: ErrorDetails, unknown_kind: str) -> str:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    keys: list[Any] = [k for k in error["loc"] if k != "[key]"]
    if kind not in UNKNOWN:
        while keys and isinstance(keys[-1], int):
            keys.pop()  # a position in a list
    before, key = "".join(f"{one_line(k, 80)}: " for k in keys[:-1]), one_line(keys[-1], 80) if keys else ""
    if kind in UNKNOWN:
        told = str(unknown(unknown_kind, keys[-1], _fields(model, keys[:-1])))
    elif kind == "literal_error" and isinstance(value, str):
        told = str(unknown(key, value, re.findall(r"'([^']*)'", context["expected"])))
    elif kind == "literal_error":
        told = f"{key} must be a word, not {clipped(value)}"
    elif kind in TYPES:
        told = f"{key} must be {TYPES[kind]}, not {clipped(value)}"
    elif bounds := [(words, context[b]) for b, words in BOUNDS.items() if b in context]:
        told = f"{key} must be {bounds[0][0]} {bounds[0][1]:.12g}, got {clipped(value)}"
    elif kind == "too_short":
        least = context["min_length"]
        told = f"{key} must not be empty" if least == 1 else f"{key} must have {least} or more values"
    elif kind == "missing":
        told = f"{key} is missing"
    else:
        told = " ".join(str(context.get("error", error["msg"])).split())
        told = f"{key} {told}" if told.startswith("must ") else told if key in told else f"{key}: {told}"
    return before + told


def _fields(model: type[BaseModel], keys: list[Any]) -> list[str]:
    """Names of the fields of the section that `keys` lead to."""
    for key in keys:
        if key in model.model_fields:  # else a key of a dictionary, or a position
            found = [k for k in members(model.model_fields[key].annotation) if isinstance(k, type) and issubclass(k, BaseModel)]
            model = found[0] if found else model
    return list(model.model_fields)


def members(kind: Any) -> Iterator[Any]:
    """A type, and those that it is a union, a list or a dictionary of."""
    yield kind
    for member in get_args(kind):
        yield from members(member)
