"""Whether a teacher is read right: two calls that a wrong sign, prediction type or map from levels to times hardly passes.

No data is needed. From pure noise at its highest level a right teacher returns about the data's mean, in which the noise is
hardly found again; and from that mean with a little noise, at that level, about what it was: not much further than the noise.
"""

import torch
from torch import Tensor

from samplers.models.teacher import Teacher
from samplers.noises import labels, noise

LOW = 0.1
"""The little noise, of images in [-1, 1]: more than rounding, and less than any content."""
VALUES, MOST = 4096, 256
"""Values of the images of a call, about, so that their correlation with noise is told from chance; and images at most."""
KEPT = 0.2
"""Share of the noise that may be found in what is denoised at the highest level. Trained networks: 0.01 to 0.02; with their
output's sign, or the time's, wrong: 0.3 and more."""
ERROR = 0.05
"""A network's own error, of its output: what predicts the noise is multiplied by sigma."""
MOVED, ADDED = 2.0, 1.3
"""At the low level, how far images may move and how much of the noise may be left, both in the noise's own size. Trained
networks: up to 0.9 and 0.3; with a wrong sign 2.8 and more, or nearly twice the noise."""


@torch.no_grad()
def doubts(teacher: Teacher, device: torch.device | str = "cpu") -> list[str]:
    """What speaks against a teacher, a line each, in two calls; none of one that works.

    It tells of gross mistakes only, and may be wrong about a teacher of unusual data: to warn, not to refuse.

    Args:
        teacher: without guidance, which moves its images on purpose.
        device: of its networks.

    Raises:
        ValueError: what it returns is of another shape.
    """
    c, h, w = teacher.shape
    n = min(-(-VALUES // (c * h * w)), MOST)
    classes = labels(range(n), teacher.num_classes, device=device)
    first, second = noise(0, range(2 * n), teacher.shape, device=device).chunk(2)
    high, low = teacher.sigma_max, min(max(LOW, teacher.sigma_min), teacher.sigma_max)
    mean = teacher(high * first, high, classes)
    if mean.shape != first.shape:
        raise ValueError(f"it returns images {list(mean.shape)} for noise of {list(first.shape)}")
    if not mean.isfinite().all():
        return [f"at its highest noise level, {high:.4g}, it returns numbers that are not finite"]
    found = []
    out = 1.0 if teacher.scaling is None else float(teacher.scaling.c_out(torch.tensor([[[[high]]]])).abs())
    kept, most = _share(mean, first), max(KEPT, ERROR * out) + high / (1 + high**2)
    if abs(kept) > most:
        found.append(
            f"from pure noise at its highest level, {high:.4g}, it returns {kept:.2g} times that noise, and should hardly any: "
            "is what its network predicts, or the time that it is told, another?"
        )
    image = mean.clamp(-1, 1)
    change = teacher(image + low * second, low, classes) - image
    moved, added = float(change.square().mean().sqrt()) / low, _share(change, second) / low
    if not (moved <= MOVED and added <= ADDED):
        found.append(
            f"at the low noise level {low:.4g} it moves an image by {moved:.2g} times the noise in it, of which {added:.2g} "
            "times is left: is its sign, what its network predicts, or the time that it is told, another?"
        )
    return found


def _share(images: Tensor, z: Tensor) -> float:
    """How much of the noise is in images, by least squares."""
    return float((images * z).sum() / z.square().sum())
