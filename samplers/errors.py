"""The one exception that a user's mistake raises; the command line prints it as one line and exits with 2."""

import difflib
import reprlib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in what the user asked for or gave; the message is one line and names the fix."""


def unknown(kind: str, name: object, known: Iterable[str]) -> UserError:
    """The error for an unknown `name` of a `kind`, naming the nearest known one and all of them."""
    known, name = sorted(known), one_line(name)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return UserError(f"unknown {kind} '{name}'{hint} (known: {', '.join(known) or 'none'})")


def one_line(said: object, most: int = 200) -> str:
    """A foreign message, or any value, as it may stand in a line: without line breaks, of at most so many characters."""
    text = " ".join(str(said).split())
    return text if len(text) <= most else text[: most - 3] + "..."


def clipped(value: object, most: int = 80) -> str:
    """A wrong value as an error shows it: its repr in a line of at most so many characters, however large it is."""
    shown = reprlib.Repr()
    shown.maxstring = shown.maxother = shown.maxlong = most
    try:
        return one_line(shown.repr(value), most)
    except ValueError:  # Python turns a number of more than 4,300 digits into no text
        return "a number of thousands of digits"
