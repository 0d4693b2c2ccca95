"""The one exception that a user's mistake raises; the command line prints it as one line and exits with 2."""

import difflib
import inspect
import reprlib
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import PurePath
from typing import Any

from samplers.time_limit import at_most

_WATCHING = ("samplers.errors", "samplers.operations", "samplers.conformance")


class UserError(Exception):
    """A mistake in what the user asked for or gave; the message is one line and names the fix."""


class PluginError(UserError):
    """A fault of a plug-in's, not of its user: where others can go on without it, they do."""


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
def foreign(what: str, fix: str, package: str = "", seconds: float | None = None) -> Iterator[None]:
    """Code that is not ours in the block: whatever it raises, a wish to exit too, becomes "WHAT (TYPE: MESSAGE, PLACE); FIX".

    What it prints goes to standard error, so that no table or protocol of ours is spoiled.

    Args:
        what: failed, and whose it is.
        fix: what to do.
        package: whose lines PLACE is told of (see `place`).
        seconds: that it may take.

    Raises:
        PluginError: that.
        UserError: the block's own.
    """
    try:
        with redirect_stdout(sys.stderr), at_most(seconds):
            yield
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as e:
        raise PluginError(f"{what} ({described(e, package)}); {fix}") from e


def described(error: BaseException, package: str) -> str:
    """An exception in a line: its type, what it says, and the place in a package that it came from, if it did."""
    where = place(error, package)
    return f"{type(error).__name__}: {one_line(error)}" + (f", {where}" if where else "")


def place(error: BaseException, package: str) -> str:
    """The innermost line of a top-level package that an exception came from, as "package/module.py:12"; "" if from none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{PurePath(error.filename).name}:{error.lineno}"
    frames = [(f, n) for f, n in traceback.walk_tb(error.__traceback__) if _module(f).partition(".")[0] == package != ""]
    return _short(frames[-1][0].f_code.co_filename, _module(frames[-1][0]), frames[-1][1]) if frames else ""


def running(package: str) -> str:
    """The innermost line of a top-level package that is being run now, as `place` tells it; "" where there is none.

    What watches a package's code from inside it, `samplers` itself, is left out.
    """
    frame = inspect.currentframe()
    while frame is not None:
        module = _module(frame)
        if module.partition(".")[0] == package != "" and not module.startswith(_WATCHING):
            return _short(frame.f_code.co_filename, module, frame.f_lineno)
        frame = frame.f_back
    return ""


def defined(found: Any) -> str:
    """Where a class or a function is defined, as `place` tells it; "" where nobody knows."""
    try:
        return _short(inspect.getfile(found), found.__module__, inspect.findsource(found)[1] + 1)
    except Exception:  # made at run time, or its source is gone
        return ""


def package_at(found: Any) -> str:
    """The top-level package of a class, a function or an object."""
    return str(getattr(found, "__module__", "")).partition(".")[0]


def _module(frame: Any) -> str:
    return str(frame.f_globals.get("__name__"))


def _short(file: str, module: str, line: int) -> str:
    """A file as seen from the folder that its top-level package lies in, with a line: nothing of the machine's folders."""
    path = PurePath(file)
    depth = 1 if module == "__main__" else module.count(".") + 1 + (path.stem == "__init__")
    return one_line(f"{'/'.join(path.parts[-depth:])}:{line}", 100)


def clipped(value: object, most: int = 80) -> str:
    """A wrong value as an error shows it: its repr in a line of at most so many characters, however large it is."""
    shown = reprlib.Repr()
    shown.maxstring = shown.maxother = shown.maxlong = most
    try:
        return one_line(shown.repr(value), most)
    except ValueError:  # Python turns a number of more than 4,300 digits into no text
        return "a number of thousands of digits"
