"""What a user sets, typed: the keys of a YAML file, the arguments of a function and the flags of a command are one class."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from samplers.documents import Document, to_yaml
from samplers.errors import UserError, clipped
from samplers.refusals import BOUNDS, members, refusal
from samplers.spec import Spec

T = TypeVar("T")


class Settings(BaseModel):
    """A class of settings: fields with a type, a default, bounds and a description, `images: int = Field(640, ge=2, ...)`.

    Types are taken as they stand: true is no number, 2.0 no whole number, "2" neither; an int will do for a float, and a value
    for a list of one. What does not fit is a `UserError` of one line, also of the constructor. A validator of a subclass raises
    ValueError with a message that completes "KEY ..." ("must be ...") or stands alone.
    """

    headings: ClassVar[Mapping[str, str]] = {}
    """Of groups of fields, by the first field of each, for a command's help."""
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=False)

    def __init__(self, **values: Any):
        try:
            super().__init__(**values)
        except ValidationError as e:
            raise refusal(type(self), e, None, values) from None

    # pydantic builds the sections of a class without their constructors, so that errors there keep their place
    __init__.__dict__["__pydantic_base_init__"] = True

    @field_validator("*", mode="before")
    @classmethod
    def _listed(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = members(cls.model_fields[info.field_name or ""].annotation)
        if value is None or isinstance(value, Mapping | tuple) or not any(get_origin(k) is tuple for k in kinds):
            return value
        return tuple(value) if isinstance(value, list) else (value,)

    @classmethod
    def of(cls, document: Document | None = None, /, **options: Any) -> Self:
        """Settings by a document's keys, if one is given, and `options` over them.

        Raises:
            UserError: an unknown key, or a value of another type or out of range; of a document with its line.
        """
        try:
            return cls.model_validate({**(document.values if document is not None else {}), **options})
        except ValidationError as e:
            raise refusal(cls, e, document, options) from None

    def values(self) -> dict[str, Any]:
        """All fields as JSON and YAML have them: lists for tuples, sections for settings."""
        return _plain(self.model_dump())

    def identity(self) -> dict[str, Any]:
        """The fields that are not at their default, sections likewise: a field that comes later changes no old identity."""
        return _plain(self.model_dump(exclude_defaults=True))

    def hashed(self) -> str:
        """Eight hexadecimal digits of the `identity`."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()[:8]

    def to_yaml(self) -> str:
        """All fields as YAML that `samplers.documents` reads."""
        return to_yaml(self.values())

    @classmethod
    def table(cls) -> str:
        """The fields as a Markdown table."""
        rows = []
        for key, field in cls.model_fields.items():
            told = (field.description or "").replace("|", r"\|")
            rows.append(f"| `{key}` | {in_words(field.annotation, field.metadata)} | {_default(field)} | {told} |")
        return "\n".join(("| key | value | default | what it is |", "|---|---|---|---|", *rows)) + "\n"

    @classmethod
    def schema_text(cls) -> str:
        """The JSON schema, by which an editor completes and checks a YAML file."""
        return json.dumps(cls.model_json_schema(), indent=1) + "\n"


def checked(check: Callable[[T], object]) -> AfterValidator:
    """A check of a field that raises UserError, told with the key and the line: `Annotated[str, checked(Spec.parse)]`."""

    def run(value: T) -> T:
        try:
            check(value)
        except UserError as e:
            raise ValueError(str(e)) from e
        return value

    return AfterValidator(run)


def _share(value: Any) -> Any:
    """A number, or a word that is one, with a percent sign or without."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"must be a number, or a percentage, not {clipped(value)}")
    if not isinstance(value, str):
        return value
    try:
        return float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    except ValueError:
        raise ValueError(f"must be a number, or a percentage, not {clipped(value)}") from None


Share = Annotated[float, BeforeValidator(_share, json_schema_input_type=float | str)]
"""A share of something, 0.02 or "2%"."""


SpecText = Annotated[str, checked(Spec.parse)]
"""A sampler, as `samplers.spec` reads it."""


def _plain(value: Any) -> Any:
    """Lists for tuples; not pydantic's JSON, which turns keys that are numbers into words."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value


KINDS = {int: "whole number", float: "number", str: "word", bool: "true or false", type(None): "null"}


def in_words(kind: Any, metadata: Iterable[Any] = ()) -> str:
    """What a value of a type may be: "whole number, at least 1"."""
    if get_origin(kind) is Annotated:
        kind, *metadata = get_args(kind)
    bounds = [m for outer in metadata for m in (outer.metadata if isinstance(outer, FieldInfo) else [outer])]
    told = [f"{words} {getattr(m, b):.12g}" for m in bounds for b, words in BOUNDS.items() if hasattr(m, b)]
    return ", ".join((_named(kind), *told))


def _named(kind: Any) -> str:
    arguments = get_args(kind)
    if kind in KINDS:
        return KINDS[kind]
    if get_origin(kind) is Literal:
        return ", ".join(f"`{a}`" for a in arguments)
    if get_origin(kind) is tuple:
        return f"list, each a {in_words(arguments[0])}"
    if get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return "section"
    return " or ".join(in_words(a) for a in arguments)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "none: it must be given"
    value = field.get_default(call_default_factory=True)
    return f"`{value if isinstance(value, str) else json.dumps(value.values() if isinstance(value, Settings) else value)}`"
