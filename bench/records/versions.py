"""Records as they are read, of this version of the schema or of an older one, and as they are written."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from bench.records.schema import SCHEMA, Record
from samplers.errors import UserError, one_line

HASH = "sha256"
"""The key of a line that tells the SHA-256 of all else in it; older lines have none."""


def upgrade(values: Any) -> Record:
    """A record as it was read, of this version or an older one.

    Raises:
        UserError: not a record, or one of a version that this one does not know; names the key that is wrong.
    """
    if not isinstance(values, Mapping) or "schema" not in values:
        raise UserError("is not a record; restore the file or remove the line")
    if values["schema"] != SCHEMA:
        raise UserError(f"has schema {one_line(values['schema'], 20)}, this version reads {SCHEMA}; use its own version")
    try:
        return validated({k: v for k, v in values.items() if k != HASH})
    except UserError as e:
        raise UserError(f"is not a record ({e}); restore the file or remove the line") from e


def validated(values: Mapping[str, Any]) -> Record:
    """Values as a record of this version.

    Raises:
        UserError: a key that is missing, unknown or of another type, as "KEY: what is wrong with it".
    """
    try:
        return Record.model_validate(values)
    except ValidationError as e:
        first = e.errors(include_url=False, include_input=False)[0]
        where, why = one_line(".".join(map(str, first["loc"])), 100), one_line(first["msg"])
        raise UserError(f"{where}: {why}") from e


def plain(record: Record) -> dict[str, Any]:
    """A record as JSON has it, with the keys that it was made with."""
    return record.model_dump(mode="json", by_alias=True, exclude_unset=True)


def signed(record: Record) -> dict[str, Any]:
    """A record as its line has it: with its hash."""
    values = plain(record)
    return {**values, HASH: _hash(values)}


def edited(values: Mapping[str, Any]) -> bool:
    """Whether a line is not as it was written, as far as its hash tells."""
    return HASH in values and values[HASH] != _hash({k: v for k, v in values.items() if k != HASH})


def _hash(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
