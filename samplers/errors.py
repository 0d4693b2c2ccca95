"""The one exception that a user's mistake raises; the command line prints it as one line and exits with 2."""

import difflib
import reprlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


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
    try:
        text = " ".join(str(said).split())
    except Exception:  # a stranger's class, or a number of thousands of digits
        text = f"a {type(said).__name__} that has no text"
    return text if len(text) <= most else text[: most - 3] + "..."


def in_short(error: UserError | OSError, most: int = 600) -> str:
    """What a command says of an error: a line, of which the middle is left out where it is long, since the fix stands last."""
    named = isinstance(error, OSError) and error.filename and f": {error.filename}"
    text = " ".join(f"{error.strerror or error}{named or ''}".split() if isinstance(error, OSError) else str(error).split())
    return text if len(text) <= most else f"{text[: most // 2 - 5]} ... {text[-most // 2 :]}"


@contextmanager
def foreign(what: str, fix: str) -> Iterator[None]:
    """Code that is not ours in the block: whatever it raises, a wish to exit too, becomes "WHAT (TYPE: MESSAGE); FIX".

    Raises:
        UserError: that, or the block's own.
    """
    try:
        yield
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as e:
        raise UserError(f"{what} ({type(e).__name__}: {one_line(e)}); {fix}") from e


def clipped(value: object, most: int = 80) -> str:
    """A wrong value as an error shows it: its repr in a line of at most so many characters, however large it is."""
    shown = reprlib.Repr()
    shown.maxstring = shown.maxother = shown.maxlong = most
    try:
        return one_line(shown.repr(value), most)
    except ValueError:  # Python turns a number of more than 4,300 digits into no text
        return "a number of thousands of digits"
