"""What the parts of a record are made of: kinds of values, and how strict a part is."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Text = Annotated[str, StringConstraints(max_length=2000)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Scalar = bool | Count | Number | Text | None
Rare: Any = Field(default=None, json_schema_extra={"column": False})  # in a table only where some record has it


class Part(BaseModel):
    """A part of a record: every key known, every value of its type, nothing changed once it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Open(BaseModel):
    """A part that others write (a card, the system), of which only some keys are ours."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
