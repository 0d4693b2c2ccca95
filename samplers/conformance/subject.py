"""A sampler under test, and what a check says of it."""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import samplers
from samplers.conformance.watched import Data, Watch
from samplers.denoiser import Denoiser
from samplers.errors import UserError, defined, one_line, package_at, place
from samplers.time_limit import at_most

BATCH = 3
USUAL, FEW = tuple(range(1, 13)), (1, 2, 3, 5)
"""Step counts tried of a sampler that takes any; of one that carries a student."""


class Flaw(Exception):  # noqa: N818 (a finding, not a failure of ours)
    """What a check found, and the line to look at ("package/module.py:12"); by default where the sampler is defined."""

    def __init__(self, reason: str, line: str = ""):
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True)
class Finding:
    """A check's outcome.

    Attributes:
        check: its name in CHECKS.
        passed: None where it does not apply, or was not run.
        reason: what was seen.
        line: to look at, where it failed.
    """

    check: str
    passed: bool | None
    reason: str = ""
    line: str = ""


class Subject:
    """A sampler under test.

    Args:
        spec: its name and options.
        teacher: of a sampler with a network of its own, whose student it then needs.
        device: to sample on.
        seconds: that it may take to get ready; None for no limit.

    Attributes:
        steps: those of its card, else of USUAL or FEW, that it can take here.

    Raises:
        UserError: it cannot be made, or takes none of these steps.
        Flaw: it fails to get ready.
    """

    def __init__(
        self,
        spec: str,
        teacher: Denoiser | None = None,
        device: torch.device | str = "cpu",
        seconds: float | None = None,
    ):
        self.spec, self.sampler = spec, samplers.get(spec)
        self.card, self.package, self.device = self.sampler.card, package_at(self.sampler), torch.device(device)
        if self.card.training and teacher is None:
            raise UserError(f"{self.card.name} carries a student; name its teacher to verify it")
        self.teacher = teacher if self.card.training else None
        denoiser, told, self.steps = self.denoiser(), "", list[int]()
        for n in self.card.steps or (USUAL if self.teacher is None else FEW):
            try:
                with redirect_stdout(sys.stderr), at_most(seconds):
                    self.sampler.prepare(denoiser, self.device, n)
                self.steps.append(n)
            except UserError as e:
                told = told or str(e)
            except KeyboardInterrupt:
                raise
            except BaseException as e:
                where = place(e, self.package) or defined(type(self.sampler))
                raise Flaw(f"it cannot get ready for {n} steps: {type(e).__name__}: {one_line(e)}", where) from e
        if not self.steps:
            raise UserError(f"{self.card.name} can take no steps here: {told or 'its card names none'}")
        self.usual = max((n for n in self.steps if n <= 5), default=self.steps[0])

    @property
    def line(self) -> str:
        """Where it takes its steps, else where it is defined."""
        kind = type(self.sampler)
        own = (vars(kind)[name] for name in ("step", "sample") if name in vars(kind))
        return defined(next(own, kind))

    def renew(self) -> None:
        """Go on with a sampler that has not sampled yet."""
        self.sampler = samplers.get(self.spec)

    def denoiser(self) -> Any:
        """The teacher, or exact data that remember their calls."""
        return Data(device=self.device) if self.teacher is None else self.teacher

    def inputs(self, count: int = BATCH) -> tuple[Tensor, Tensor | None]:
        """Noise and labels of the first images."""
        denoiser = self.denoiser()
        dtype = torch.float64 if self.teacher is None else torch.float32
        z = samplers.noise(0, range(count), denoiser.shape, device=self.device, dtype=dtype)
        student = self.sampler.student
        classes = 0 if student is not None and student.labels == "none" else denoiser.num_classes
        return z, samplers.labels(range(count), classes, device=self.device)

    @torch.no_grad()
    def run(self, z: Tensor, labels: Tensor | None, steps: int | None = None, denoiser: Any = None, **more: Any) -> Tensor:
        """Images of noise, in the usual number of steps unless another is asked for."""
        denoiser, steps = denoiser or self.denoiser(), steps or self.usual
        self.sampler.prepare(denoiser, z.device, steps)
        return self.sampler.sample(denoiser, z, steps=steps, labels=labels, **more)

    def watched(self, steps: int, inputs: Sequence[Tensor] = (), count: int = BATCH) -> Watch:
        """A run whose operations were watched."""
        z, labels = self.inputs(count)
        denoiser = self.denoiser()
        self.sampler.prepare(denoiser, self.device, steps)
        networks = [*self.sampler.networks(), *getattr(denoiser, "networks", list)()]
        given = [z] if labels is None else [z, labels]
        with Watch(self.package, given, networks) as watch:
            self.run(z, labels, steps, denoiser)
        watch.calls += len(getattr(denoiser, "seen", ()))
        return watch
