"""What a sampler is called: NAME:OPTION=VALUE@STEPS, parsed, printed, put in order, and made into a file name."""

import dataclasses
import hashlib
import re
from dataclasses import dataclass

from samplers.errors import UserError, one_line

LONGEST = 120
"""Characters that every file system takes in a name, with room for an ending."""
HASH = 10
"""Digits of the hash, 40 bits, in a file name that does not say everything."""
DEVICES = re.compile(r"con|prn|aux|nul|(com|lpt)\d")  # on Windows no file has such a name


@dataclass(frozen=True)
class Spec:
    """A sampler with its options, and a step count of its own.

    What follows a colon belongs to the name until the first OPTION=VALUE, so "package:sampler" is a name. A value may hold
    ":/" and ":\\", as in an address or after a drive's letter, and an @ that a slash follows.

    Attributes:
        name: of the sampler, without options.
        options: key and value of each, in the order given; no key twice.
        steps: 1 or more, None where the plan decides.

    Raises:
        UserError: it has no text that would be read as the same again.
    """

    name: str
    options: tuple[tuple[str, str], ...] = ()
    steps: int | None = None

    def __post_init__(self) -> None:
        if _read(str(self)) != (self.name, self.options, self.steps):
            raise UserError(f"{one_line(self)} cannot be told as NAME:OPTION=VALUE@STEPS; leave : = @ out of its parts")

    @classmethod
    def parse(cls, text: str) -> "Spec":
        """The spec of a text, "ddim", "ddim:eta=0.5", "heun:grid=karras@50"; `str` gives a text of the same spec again.

        Raises:
            UserError: no name, an option without a value or given twice, or no step count after the @.
        """
        return cls(*_read(text))

    def __str__(self) -> str:
        steps = "" if self.steps is None else f"@{self.steps}"
        return ":".join((self.name, *(f"{k}={v}" for k, v in self.options))) + steps

    def __lt__(self, other: "Spec") -> bool:
        """By name, options, and step count, none first."""
        return (self.name, self.options, self.steps or 0) < (other.name, other.options, other.steps or 0)

    @property
    def head(self) -> str:
        """The sampler's name, or of a "package:sampler" the package."""
        return self.name.partition(":")[0]

    def at(self, steps: int | None) -> "Spec":
        """The same sampler with so many steps, or with none of its own."""
        return dataclasses.replace(self, steps=steps)

    def with_option(self, key: str, value: object) -> "Spec":
        """The same with an option set, in its old place if it had it, else as the last."""
        return dataclasses.replace(self, options=tuple((dict(self.options) | {key: str(value)}).items()))

    @property
    def file_name(self) -> str:
        """A name for files that no other spec has, of at most LONGEST characters; "ddim" stays "ddim"."""
        return file_name(str(self))


def file_name(text: str, end: str = "") -> str:
    """A file name that no other text has with this end: the text, or what can be read of it and a hash, and the end.

    Safe on file systems that know no upper case, no colons or no long names.

    Args:
        text: any.
        end: of [a-z0-9_], 60 characters at most.
    """
    if re.fullmatch(r"[a-z0-9_]+", text) and len(text + end) <= LONGEST and not DEVICES.fullmatch(text + end):
        return text + end
    own = "-" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:HASH] + end
    readable = re.sub(r"[^a-z0-9_-]", "_", text.lower().replace("=", "-"))
    return readable[: max(LONGEST - len(own), 0)] + own


def _read(text: str) -> tuple[str, tuple[tuple[str, str], ...], int | None]:
    """Name, options and steps of a text."""
    told, steps = one_line(text), None
    plain, at, own = text.rpartition("@")
    if not at or re.search(r"[/\\]", own):
        plain = text
    elif re.fullmatch(r"[0-9]{1,9}", own) and int(own) > 0:
        steps = int(own)
    else:
        raise UserError(f"{told}: write a step count after the @, as in {one_line(plain) or 'ddim'}@50")
    parts = re.split(r":(?![/\\])", plain)
    names = next((i for i, part in enumerate(parts) if "=" in part), len(parts))
    if not all(parts[:names]) or not names:
        raise UserError(f"'{told}' names no sampler; write NAME, or NAME:OPTION=VALUE, as in ddim:eta=0.5")
    options = dict[str, str]()
    for part in parts[names:]:
        key, equals, value = part.partition("=")
        if not key or not equals:
            raise UserError(f"{told}: write the option as {one_line(key, 50) or 'OPTION'}=VALUE")
        if key in options:
            raise UserError(f"{told}: the option {one_line(key, 50)} is given twice")
        options[key] = value
    return ":".join(parts[:names]), tuple(options.items()), steps
