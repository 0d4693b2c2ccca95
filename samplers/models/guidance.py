"""Guidance: a teacher pushed away from a worse prediction, its own without a class or that of another teacher."""

import hashlib

import torch
from torch import Tensor, nn

from samplers.errors import UserError
from samplers.models.teacher import Teacher


class Guided(Teacher):
    """x0_hat = worse + w (teacher - worse), which at one x and sigma is the same of eps and v.

    Worse is the teacher without a class (classifier-free guidance, arXiv 2207.12598, with its 1 + w written w, as diffusers
    does) or a guide, another teacher of the same states (autoguidance, arXiv 2406.02507), of the same classes or of none, as
    EDM2 guides without a class. w = 1 is the teacher alone.

    Args:
        teacher: what is guided.
        weight: w > 0.
        calls: network calls of a classifier-free prediction: 1 of twice the batch, or 2.
        guide: of autoguidance, which takes two calls.

    Raises:
        UserError: a teacher that was not trained without a class, or a guide of other states.
    """

    def __init__(self, teacher: Teacher, weight: float, *, calls: int = 1, guide: Teacher | None = None):
        if guide is None and not (teacher.num_classes and teacher.unconditional):
            why = "it has no classes" if not teacher.num_classes else "it was not trained without a class"
            raise UserError(f"teacher '{teacher.name}' cannot guide itself: {why}; leave out --guidance, or name a --guide")
        if guide is not None and (guide.shape != teacher.shape or guide.num_classes not in (0, teacher.num_classes)):
            raise UserError(
                f"--guide '{guide.name}' has states {list(guide.shape)} and {guide.num_classes} classes, teacher "
                f"'{teacher.name}' {list(teacher.shape)} and {teacher.num_classes}; name one of the same, or without classes"
            )
        told = f"guidance {weight:g}" + (f" by {guide.name}" if guide is not None else "")
        hashes = [teacher.sha256, *([guide.sha256] if guide is not None else [])]
        super().__init__(
            f"{teacher.name}, {told}",
            teacher.shape,
            teacher.num_classes,
            teacher.schedule,
            scaling=teacher.scaling,
            sha256=None if None in hashes else hashlib.sha256(repr((hashes, weight)).encode()).hexdigest(),
            data=teacher.data,
            card={**teacher.card, "guidance": weight},
        )
        self.image_shape, self.unconditional = teacher.image_shape, guide is not None and teacher.unconditional
        self.teacher, self.weight, self.calls, self.guide = teacher, weight, calls, guide

    def forward(self, x: Tensor, sigma: float | Tensor, labels: Tensor | None = None) -> Tensor:
        if self.guide is not None:
            told = labels if self.guide.num_classes else None
            return torch.lerp(self.guide(x, sigma, told), self.teacher(x, sigma, labels), self.weight)
        if labels is None:
            raise UserError(f"{self.name}: guidance needs a class for each image; ask for --labels balanced")
        none = torch.full_like(labels, -1)
        if self.calls == 2:
            return torch.lerp(self.teacher(x, sigma, none), self.teacher(x, sigma, labels), self.weight)
        if isinstance(sigma, Tensor) and sigma.ndim:
            sigma = torch.cat([sigma, sigma])
        both = self.teacher(torch.cat([x, x]), sigma, torch.cat([none, labels]))  # [2 B, C, H, W]
        without, with_ = both.chunk(2)
        return torch.lerp(without, with_, self.weight)

    def networks(self) -> list[nn.Module]:
        return [n for t in (self.teacher, self.guide) if t is not None for n in t.networks()]

    def decode(self, x: Tensor) -> Tensor:
        return self.teacher.decode(x)


def guided(teacher: Teacher, weight: float | None, calls: int = 1, guide: Teacher | None = None) -> Teacher:
    """`Guided`, or for no weight, and for 1, the teacher itself.

    Raises:
        UserError: as `Guided`.
    """
    return teacher if weight is None or weight == 1 else Guided(teacher, weight, calls=calls, guide=guide).eval()
