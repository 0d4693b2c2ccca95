"""All checks of a sampler."""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout

import torch

from samplers.conformance import accuracy, manners, results
from samplers.conformance.subject import Finding, Flaw, Subject
from samplers.denoiser import Denoiser
from samplers.errors import one_line, place
from samplers.time_limit import OverdueError, at_most

SECONDS = 60.0
"""That a check may take."""
CHECKS: dict[str, Callable[[Subject], str | None]] = {
    "images": results.images,
    "refusals": results.refusals,
    "calls": results.calls,
    "determinism": results.determinism,
    "batch": results.batch,
    "labels": results.classes,
    "callback": results.callback,
    "order": accuracy.order,
    "dtype": manners.dtype,
    "device": manners.device,
    "waiting": manners.waiting,
    "inputs": manners.inputs,
    "generator": manners.generator,
    "NaN": manners.not_a_number,
    "overhead": manners.overhead,
    "output": manners.output,
}
"""Of a sampler, by name, in the order in which they are made."""


def verify(
    spec: str, teacher: Denoiser | None = None, *, device: torch.device | str = "cpu", seconds: float = SECONDS
) -> list[Finding]:
    """What each check finds of a sampler; after one that takes too long, or where it fails to get ready, no others are made.

    Args:
        spec: its name and options.
        teacher: of a sampler with a network of its own.
        device: to sample on.
        seconds: that a check may take, or getting ready for a number of steps.

    Raises:
        UserError: the sampler cannot be made, or takes no steps here.
    """
    try:
        subject, found = Subject(spec, teacher, device, seconds), list[Finding]()
    except Flaw as e:
        first, *others = CHECKS
        return [
            Finding(first, False, str(e), e.line),
            *(Finding(name, None, "not run, for it cannot get ready") for name in others),
        ]
    for name, check in CHECKS.items():
        overdue = next((f for f in found if f.reason.startswith(OverdueError.__name__)), None)
        found.append(
            Finding(name, None, f"not run, for {overdue.check} took too long")
            if overdue
            else made(name, check, subject, seconds)
        )
    return found


def made(name: str, check: Callable[[Subject], str | None], subject: Subject, seconds: float = SECONDS) -> Finding:
    """One check; whatever the sampler raises in it, a wish to exit too, is a failure."""
    try:
        with redirect_stdout(sys.stderr), at_most(seconds):
            seen = check(subject)
    except Flaw as e:
        return Finding(name, False, str(e), e.line or subject.line)
    except KeyboardInterrupt:
        raise
    except BaseException as e:
        return Finding(name, False, f"{type(e).__name__}: {one_line(e)}", place(e, subject.package) or subject.line)
    return Finding(name, seen is not None or None, seen or "does not apply")
