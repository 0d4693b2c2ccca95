"""Samplers that carry a trained student: find its card, refuse what does not fit, load it once, tell of it."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samplers.denoiser import Denoiser
from samplers.errors import UserError, one_line
from samplers.models.cards import StudentCard
from samplers.models.zoo import ZooEntry, find_card, known_cards, zoo
from samplers.protocol import Sampler, Student, check


class StudentSampler(Sampler):
    """A sampler with a trained network of its own, found by the teacher's hash.

    A subclass says where its students ship (`folder`, cards of `kind`) and writes `load`, `networks` and `sample`, which begins
    with `ready`.

    Args:
        student: a name in the zoo, the path of a card, or a folder of cards; by default the shipped one of the teacher.
    """

    kind: str
    folder: Path

    def __init__(self, *, student: str = ""):
        self._asked = student
        self._student: Student | None = None
        self._made_for: tuple[str | None, torch.device, int] | None = None
        self._loaded: tuple[Path, torch.device] | None = None

    @abstractmethod
    def load(self, entry: ZooEntry, device: torch.device) -> tuple[int, int, int]:
        """Make the student of a card ready to sample; returns the shape (C, H, W) of its images."""

    def method_of(self, card: Mapping[str, Any]) -> str:
        """The name of the sampler that a student is for."""
        return one_line(card.get("method"))

    @property
    def student(self) -> Student | None:
        return self._student

    def prepare(self, denoiser: Denoiser, device: torch.device | str, steps: int) -> None:
        teacher, device = getattr(denoiser, "sha256", None), torch.empty(0, device=device).device  # "cuda" is cuda:0
        if self._made_for == (teacher, device, steps):  # no file is read while it is timed
            return
        entry = self._choose(self._candidates(denoiser), teacher, steps)
        if self._loaded == (entry.path, device):  # one student for several numbers of steps
            self._made_for = (teacher, device, steps)
            return
        card = entry.read(StudentCard)
        self._made_for = self._loaded = None  # nothing half loaded is kept
        shape = self.load(entry, device)
        if shape != tuple(denoiser.shape):
            raise UserError(f"{entry.path}: the student makes images of {shape}, the teacher of {tuple(denoiser.shape)}")
        told = dict(entry.card.get("training", {})) | {"cost": card.cost}
        self._student = Student(card.name, card.sha256, told, card.noise_seeds, card.labels)
        self._made_for, self._loaded = (teacher, device, steps), (entry.path, device)

    def ready(self, denoiser: Denoiser, noise: Tensor, steps: int, labels: Tensor | None) -> None:
        """Refuse what the student cannot do, and see that it is loaded.

        Raises:
            UserError: steps, noise, a teacher or labels that do not fit.
        """
        check(self.card, denoiser, noise, steps)
        self.prepare(denoiser, noise.device, steps)
        assert self._student is not None
        if self._student.labels != "any" and (labels is None) != (self._student.labels == "none"):
            told = "with class labels; give them" if labels is None else "without class labels; give none"
            raise UserError(f"{self._student.name} was trained {told}")

    def students(self) -> list[ZooEntry]:
        """The cards of this sampler's students, of any teacher: in the folder asked for, or all that are known."""
        entries = (zoo(self.kind, Path(self._asked)) if self._asked else known_cards(self.kind, self.folder)).values()
        return [e for e in entries if self.method_of(e.card) == self.card.name]

    def _candidates(self, denoiser: Denoiser) -> list[ZooEntry]:
        """The cards asked for; by default those that ship for this teacher."""
        name, teacher = self.card.name, getattr(denoiser, "sha256", None)
        if not self._asked or Path(self._asked).is_dir():
            known = self.students()
            found = [e for e in known if teacher is not None and _teacher_of(e).get("sha256") == teacher]
            if not found:
                where = f"is in {self._asked}" if self._asked else "ships"
                others = ", ".join(dict.fromkeys(_told(_teacher_of(e)) for e in known))
                raise UserError(
                    f"no {name} student of this teacher ({str(teacher)[:12]}...) {where}; train one with 'bench train {name}' "
                    f"and name its card: {name}:student=PATH.json" + (f" (there are students of {others})" if others else "")
                )
            return found
        entry = find_card(self.kind, self._asked, self.folder)
        if (method := self.method_of(entry.card)) != name:
            raise UserError(f"{self._asked} is a student of method {method}; write {method}:student={self._asked}")
        theirs = _teacher_of(entry)
        if theirs.get("sha256") != teacher:
            version = "another version of " if theirs.get("name") == getattr(denoiser, "name", "") else ""
            raise UserError(
                f"{self._asked} is a student of {version}teacher {_told(theirs)}, not of this one ({str(teacher)[:12]}...); "
                f"train one with 'bench train {name}', or name the card of its own with --teacher"
            )
        return [entry]

    def _choose(self, found: list[ZooEntry], teacher: str | None, steps: int) -> ZooEntry:
        """The first student of this number of steps; one whose card names none takes any."""
        for entry in found:
            if entry.card.get("steps", steps) == steps:
                return entry
        there = ", ".join(sorted((one_line(e.card["steps"], 20) for e in found), key=lambda n: (len(n), n)))
        raise UserError(
            f"no {self.card.name} student of {steps} steps for this teacher ({str(teacher)[:12]}...); there is one of {there}"
        )


def _teacher_of(entry: ZooEntry) -> Mapping[str, Any]:
    told = entry.card.get("teacher")
    return told if isinstance(told, dict) else {}


def _told(teacher: Mapping[str, Any]) -> str:
    return f"{one_line(teacher.get('name'))} ({one_line(teacher.get('sha256'))[:12]}...)"
