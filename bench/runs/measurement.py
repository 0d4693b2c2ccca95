"""A cell being measured: its sampler, and the parts of its record that the phases have told so far."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bench.runs.cells import UNKNOWN, Cell
from samplers.errors import PluginError, UserError, described, one_line, package_at
from samplers.protocol import Card, Sampler


class DeviceLostError(UserError):
    """A fault of the device itself, after which a process cannot use it any more."""


class Unusable(Sampler):
    """In the place of a plug-in that cannot be used, or says of itself what no record can hold."""

    card = UNKNOWN

    def sample(self, *_: Any, **__: Any) -> Tensor:
        raise NotImplementedError


@dataclass
class Measurement:
    """A cell being measured.

    Attributes:
        cell: which.
        sampler: its own, ready for the cell's steps.
        told: the record's keys (`bench.records.schema`) that phases have filled, each as its part's keys.
        error: why it has no result.
        skipped: whether it could not be measured from the start.
        seconds: what its first pass of one image took, None before.
    """

    cell: Cell
    sampler: Sampler
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: str | None = None
    skipped: bool = False
    seconds: float | None = None

    @property
    def card(self) -> Card:
        return self.sampler.card

    @property
    def deterministic(self) -> bool:
        """Whether its images are a function of the noise alone, so that they can be held against the ODE's solution."""
        return not self.card.draws_noise(self.cell.steps)

    def tell(self, key: str, **values: Any) -> None:
        """Fill a part of the record; several phases may share one, as `time`."""
        self.told.setdefault(key, {}).update(values)

    def attempt(self, work: Callable[["Measurement"], None]) -> None:
        """Do some work on it; what goes wrong in the sampler becomes the cell's error, and the other cells go on.

        Raises:
            DeviceLostError: as well as the cell's error, where no other cell can go on in this process.
        """
        if self.error is not None:
            return
        try:
            work(self)
        except PluginError as e:
            self.error = one_line(e, 600)
        except (UserError, KeyboardInterrupt):
            raise  # a full disk, say: not the sampler's fault
        except BaseException as e:  # a stranger's code may even ask to exit
            self.error = described(e, package_at(self.sampler))
            if isinstance(e, torch.AcceleratorError):  # whatever comes after it in this process fails too
                raise DeviceLostError(f"the device failed in {self.cell.id} ({self.error}); the same command goes on") from e
