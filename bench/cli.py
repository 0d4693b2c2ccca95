"""The command line: `bench COMMAND`."""

import functools
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any

import typer

from bench.commands.converting import convert
from bench.commands.judging import compare, gate
from bench.commands.literature import literature
from bench.commands.making import new
from bench.commands.measuring import doctor, list_, merge, profile, report, run, tune
from bench.commands.options import errors
from bench.commands.recommending import recommend
from bench.commands.scoring import score
from bench.commands.training import campaign, train
from bench.commands.verifying import verify
from samplers.errors import UserError, in_short, one_line

SPINS = "30000"
"""Turns that an idle thread of torch waits for work before it sleeps, read when torch is loaded. With the OpenMP runtime's own
millions of them, threads that wait take the cores from those that work on a loaded machine (up to 40 times the time of a pass);
with none (OMP_WAIT_POLICY=PASSIVE) a pass of one small image takes three times as long on an idle one."""


def _version(asked: bool) -> None:
    if asked:
        print(f"bench {version('sampler-bench')}")
        raise typer.Exit


class _InterruptedError(Exception):
    """Ctrl-C, which Typer would end without a word."""


def _interruptible(command: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(command)
    def run(**values: Any) -> None:
        try:
            command(**values)
        except KeyboardInterrupt as e:
            raise _InterruptedError(str(e) or "run the same command again to go on from here") from e

    return run


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def bench(
    asked: Annotated[bool, typer.Option("--version", help="print the version", callback=_version, is_eager=True)] = False,
) -> None:
    """Compare fast samplers of a diffusion model."""


COMMANDS = (
    run,
    merge,
    list_,
    report,
    recommend,
    literature,
    tune,
    train,
    profile,
    compare,
    gate,
    score,
    new,
    verify,
    doctor,
    convert,
    campaign,
)
for command in COMMANDS:
    app.command(name=command.__name__.rstrip("_"))(_interruptible(command))


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 2."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    try:
        code = app(standalone_mode=False)
    except (UserError, OSError) as e:
        code = _fail(in_short(e))
    except _InterruptedError as e:
        code = _fail(f"interrupted; {one_line(e, 600)}", code=130)
    except Exception as e:
        # Typer's own usage errors carry an exit code and a message; anything else is ours, and its traceback is wanted.
        if not hasattr(e, "exit_code") or not hasattr(e, "format_message"):
            raise
        code = _fail(one_line(e.format_message(), 600))
    sys.exit(code)


def _fail(message: str, code: int = 2) -> int:
    errors.print(f"bench: {message}", markup=False, highlight=False, soft_wrap=True)
    return code


if __name__ == "__main__":
    main()
