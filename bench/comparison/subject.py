"""One side of a comparison: the samplers of one revision, made ready on one teacher, counted and run.

Both sides take the networks of side A, from its shipped weights: what is compared is the code. Everything here is called
inside `Packages.active()` of the side's revision (or without it, for the packages as they are installed).
"""

import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.comparison.work import BATCH, Work, project
from bench.instruments.clock import Clock
from bench.instruments.meter import Meter
from samplers.errors import PluginError, described, package_at
from samplers.flops import flops
from samplers.noises import labels
from samplers.operations import Operations
from samplers.spec import Spec
from samplers.time_limit import at_most

SEED = 0
LONGEST = 300.0
"""Seconds that counting a sampler may take; our slowest takes a few."""


class AbsentError(Exception):
    """A side does not have a cell, or cannot run it; says why in one line.

    Attributes:
        side: 0 or 1, None where it does not matter.
        broken: whether the side has the sampler, and it raised.
    """

    def __init__(self, why: str, side: int | None = None, broken: bool = False):
        super().__init__(why)
        self.side, self.broken = side, broken


@contextmanager
def under_test(sampler: Any, side: int | None = None, who: str = "") -> Iterator[None]:
    """Code of a sampler: whatever it raises, a wish to exit too, or that it does not end, is an `AbsentError`, broken.

    What it prints goes to standard error.

    Args:
        sampler: whose it is.
        side: of the error.
        who: what the error begins with.
    """
    try:
        with redirect_stdout(sys.stderr), at_most(LONGEST):
            yield
    except (AbsentError, KeyboardInterrupt):
        raise
    except BaseException as e:
        raise AbsentError(who + described(e, package_at(sampler)), side, broken=True) from e


def is_broken(error: Exception) -> bool:
    """Whether it is the plug-in's fault, by the name of its class: each revision has its own."""
    return type(error).__name__ == PluginError.__name__


class Subject:
    """A revision's samplers on one teacher.

    It is told of cells by the harness's `Spec`, and tells the revision by text: that may have another idea of a spec.

    Args:
        teacher: name in the zoo of the packages that are active, or the path of a card.
        device: of the networks.
        calls: budget of network calls of a cell without a step count.
    """

    def __init__(self, teacher: str, device: torch.device, calls: int):
        self.samplers: Any = importlib.import_module("samplers")  # the active revision's, not the harness's
        for name in self.samplers.__all__:
            getattr(self.samplers, name)  # loaded when first asked for: here, where the revision is active
        self.device, self.calls = device, calls
        self.teacher = self.samplers.load_teacher(teacher, device=device)

    def names(self) -> list[str]:
        """Names of its samplers, without those that a fit of a minute or more comes before."""
        return [n for n in self.samplers.names() if not self._fitted(n)]

    def _fitted(self, name: str) -> bool:
        try:
            return bool(getattr(self.samplers.card(name), "fitted", False))
        except self.samplers.UserError:  # one that cannot be used, which is told where it is
            return False

    def steps(self, wanted: Spec) -> int:
        """The largest step count within the budget of calls that the sampler can do, or the one asked for.

        Raises:
            AbsentError: no step count fits.
        """
        if wanted.steps is not None:
            return wanted.steps
        found = self.get(wanted)
        card = found.card
        able = [n for n in card.steps or range(1, self.calls + 1) if card.calls(n) <= self.calls]
        if not able:
            raise AbsentError(f"{wanted} needs more than {self.calls} calls")
        return max((n for n in able if not card.steps or self._can(found, n)), default=max(able))

    def get(self, wanted: Spec) -> Any:
        """The sampler, not ready yet."""
        return self.samplers.get(str(wanted.at(None)))

    def _can(self, sampler: Any, steps: int) -> bool:
        """Whether a sampler of certain step counts only has what it takes for this one (a student that ships)."""
        try:
            sampler.prepare(self.teacher, self.device, steps)
        except self.samplers.UserError:
            return False
        return True

    def students(self, wanted: Spec) -> Path | None:
        """The folder where its students ship; None for a sampler that has none, or whose spec names them."""
        kind = type(self.get(wanted))
        takes = "student" in inspect.signature(kind).parameters and "student" not in dict(wanted.options)
        return Path(kind.folder) if takes and hasattr(kind, "folder") else None

    def sampler(self, wanted: Spec, steps: int, students: Path | None) -> Any:
        """The sampler, ready.

        Raises:
            AbsentError: this side has no such sampler, or it cannot be made ready.
        """
        with under_test(None):
            try:
                found = self.get(wanted if students is None else wanted.with_option("student", students))
                found.prepare(self.teacher, self.device, steps)
            except self.samplers.UserError as e:
                raise AbsentError(str(e), broken=is_broken(e)) from e
        return found

    def inputs(self, batch: int) -> tuple[Tensor, Tensor | None]:
        """Noise and labels of the first `batch` images."""
        z = self.samplers.noise(SEED, range(batch), self.teacher.shape, device=self.device)
        return z, labels(range(batch), self.teacher.num_classes, device=self.device)

    @torch.no_grad()
    def count(self, sampler: Any, steps: int) -> Work:
        """Everything that is counted of one pass on BATCH images."""
        z, classes = self.inputs(BATCH)
        meter = Meter(self.teacher, Clock(self.device))
        with meter.watching(sampler):
            images = sampler.sample(meter, z, steps=steps, labels=classes)
        work = flops(sampler.sample, self.teacher, z, steps=steps, labels=classes)
        sampler.sample(self.teacher, z, steps=steps, labels=classes)
        with Operations() as operations:
            sampler.sample(self.teacher, z, steps=steps, labels=classes)
        return Work(
            calls=meter.count.calls,
            forwards=meter.count.forwards,
            flops=work,
            operators=operations.operators,
            synchronisations=operations.synchronisations,
            peak_bytes=operations.peak_bytes,
            images=project(images),
        )
