"""YAML files of settings: read with the line of every key and YAML 1.2's numbers, written so that every reader agrees."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from samplers.errors import UserError, clipped, one_line

BYTES = 2**18
"""The largest file that is read."""
NODES = 20_000
"""The most values in one, those that an alias (*) repeats counted each time."""
Keys = tuple[Any, ...]
"""Where a value stands: the keys (in a list the positions) that lead to it."""


@dataclass(frozen=True)
class Document:
    """A mapping read from a file, or a section of it, and where its keys stand.

    Attributes:
        values: the mapping.
        origin: what errors call it, as the file's path.
        lines: the line of each value of the whole file, from 1.
        section_keys: of a section, the keys that lead to it.
    """

    values: Mapping[Any, Any]
    origin: str
    lines: Mapping[Keys, int] = field(default_factory=dict, repr=False)
    section_keys: Keys = ()

    def section(self, key: Any) -> "Document":
        """The mapping under a key.

        Raises:
            UserError: there is none.
        """
        if key not in self.values:
            raise UserError(f"{self.place()} has no section '{key}'")
        if not isinstance(self.values[key], Mapping):
            raise UserError(
                f"{self.place((key,))}: {key} must be a section of 'key: value' lines, not {clipped(self.values[key])}"
            )
        return Document(self.values[key], self.origin, self.lines, (*self.section_keys, key))

    def line(self, keys: Keys) -> int:
        """The line of a value, or of the nearest around it that has one; 0 where none has."""
        whole = (*self.section_keys, *keys)
        return next((self.lines[whole[:n]] for n in range(len(whole), 0, -1) if whole[:n] in self.lines), 0)

    def place(self, keys: Keys = ()) -> str:
        """How an error names a value's place: "plan.yaml, line 3"."""
        line = self.line(keys) if keys else 0
        return f"{self.origin}, line {line}" if line else self.origin


def read_document(path: Path, kind: str) -> Document:
    """A YAML file that is a mapping.

    Args:
        path: the file, UTF-8, at most BYTES large.
        kind: what it should be, for the errors: "plan".

    Raises:
        UserError: it cannot be read, is too large, not text, not YAML, no mapping, or has a key twice.
    """
    try:
        with open(path, "rb") as f:
            content = f.read(BYTES + 1)
        if len(content) > BYTES:
            raise UserError(f"{path} is larger than {BYTES // 1024} KiB; is it a {kind}?")
        return parse_document(content.decode("utf-8-sig"), str(path), kind)
    except (OSError, ValueError) as e:
        if isinstance(e, UnicodeDecodeError):
            raise UserError(f"{path} is not a text file in UTF-8; a {kind} is YAML") from e
        raise UserError(f"cannot read the {kind} {clipped(str(path), 200)[1:-1]}: {getattr(e, 'strerror', None) or e}") from e


def parse_document(text: str, origin: str, kind: str) -> Document:
    """As `read_document`, of a text.

    Raises:
        UserError: see there.
    """
    lines: dict[Keys, int] = {}
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        _note_lines(root, (), lines, origin)
        values = None if root is None else loader.construct_document(root)
    except yaml.MarkedYAMLError as e:
        line = f", line {e.problem_mark.line + 1}" if e.problem_mark else ""
        raise UserError(f"{origin}{line} is not valid YAML: {one_line(e.problem or e.context)}") from e
    except (yaml.YAMLError, ValueError, OverflowError) as e:  # ValueError: an explicit tag, as in !!int many
        raise UserError(f"{origin} is not valid YAML: {one_line(e)}") from e
    except RecursionError as e:
        raise UserError(f"{origin} is nested too deeply for a {kind}") from e
    if not isinstance(values, dict):
        raise UserError(f"{origin}: a {kind} is a list of 'key: value' lines")
    return Document(values, origin, lines)


def to_yaml(values: Mapping[str, Any]) -> str:
    """A mapping as YAML that `parse_document` and readers of YAML 1.1 take alike."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False)


def _note_lines(root: yaml.Node | None, keys: Keys, lines: dict[Keys, int], origin: str) -> None:
    """Fill `lines`, by what is written: before aliases and merged keys are put in their places."""
    waiting = [(root, keys)] if root is not None else []
    for node, at in waiting:  # grows
        if len(waiting) > NODES:
            raise UserError(f"{origin} holds more than {NODES:,} values, aliases (*) counted each time; write less")
        lines.setdefault(at, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            waiting += [(item, (*at, k)) for k, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            written: set[Keys] = set()
            for key, value in node.value:
                name = _scalar(key)
                if (key.tag, name) in written:
                    raise UserError(f"{origin}, line {key.start_mark.line + 1}: {clipped(name)} stands there twice; remove one")
                written.add((key.tag, name))
                lines.setdefault((*at, name), key.start_mark.line + 1)
                waiting.append((value, (*at, name)))


def _scalar(node: yaml.Node) -> Any:
    """A key as Python has it; of one that is no scalar, something that no other key equals."""
    if not isinstance(node, yaml.ScalarNode):
        return id(node)
    return _int(node.value) if node.tag == _INT[0] else node.value


def _int(text: str) -> int:
    return int(text, 0) if text[:2] in ("0x", "0o") else int(text)  # 010 is ten


# YAML 1.1, PyYAML's, takes 1e-3 and 1.0e6 for words, 1:30 for ninety, 010 for eight and `no` for false; YAML 1.2 does not.
_INT = ("tag:yaml.org,2002:int", re.compile(r"[-+]?[0-9]+(_[0-9]+)*\Z|0x[0-9a-fA-F]+\Z|0o[0-7]+\Z"), "-+0123456789")
_FLOAT = (
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z|[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z"),
    "-+.0123456789",
)
_OTHERS = (
    ("tag:yaml.org,2002:bool", re.compile(r"(true|True|TRUE|false|False|FALSE)\Z"), "tTfF"),
    ("tag:yaml.org,2002:null", re.compile(r"(~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:merge", re.compile(r"<<\Z"), "<"),
)


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return _int(str(loader.construct_scalar(node)))


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list] = {}  # noqa: RUF012 (PyYAML's own name and type)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # a list that stands twice is written twice
        return True


for _tag, _pattern, _first in (_INT, _FLOAT, *_OTHERS):
    _Loader.add_implicit_resolver(_tag, _pattern, list(_first))
    _Dumper.add_implicit_resolver(_tag, _pattern, list(_first))  # besides those of YAML 1.1: a word that is neither's number
_Loader.add_constructor(_INT[0], _construct_int)
