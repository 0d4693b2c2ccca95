"""What an error of a decoded path is worth: pixel by pixel, or in the features of a frozen network."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samplers.models.unet_teacher import UNetTeacher
from samplers.models.weights import fill, load_tensors

Term = Callable[[Tensor, Tensor], Tensor]
"""Predicted and true images [N, C, H, W] to a loss each, [N]."""

TERMS = ("l1", "l2", "perceptual")
FEATURE_NOISE = 0.1
"""Noise level that the teacher is told when its features are the perceptual ones: nearly clean, where they see fine strokes."""


def l1(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean absolute difference of each image."""
    return (predicted - true).abs().mean(dim=(1, 2, 3))


def l2(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean squared difference of each image."""
    return (predicted - true).square().mean(dim=(1, 2, 3))


class Perceptual(nn.Module):
    """Squared distance of unit-normalised features of a frozen network, averaged over places, summed over its layers.

    LPIPS (Zhang et al., arXiv 1801.03924) without its learned channel weights, as DSNO's best CIFAR-10 run used it. A Frechet
    distance in the same features would flatter a student trained so: never score with the features trained on.

    Args:
        features: images [N, C, H, W] in [-1, 1] to feature maps.
    """

    def __init__(self, features: Callable[[Tensor], Sequence[Tensor]]):
        super().__init__()
        self.features = features

    def forward(self, predicted: Tensor, true: Tensor) -> Tensor:
        with torch.no_grad():
            theirs = self.features(true)
        total = torch.zeros(len(predicted), device=predicted.device)
        for own, other in zip(self.features(predicted), theirs, strict=True):
            difference = _unit(own.float()) - _unit(other.float())
            total = total + difference.square().sum(dim=1).mean(dim=(1, 2))
        return total


def _unit(f: Tensor) -> Tensor:
    # The small constant is inside the root, so that a feature vector of zeros has a gradient.
    return f * torch.rsqrt(f.square().sum(dim=1, keepdim=True) + 1e-6)


def teacher_features(teacher: UNetTeacher) -> Callable[[Tensor], list[Tensor]]:
    """Feature maps on the way down the teacher's own U-Net (a frozen copy), told a small noise level.

    A diffusion model as its own perceptual network: Lin & Yang, arXiv 2401.00110.
    """
    network, level = teacher.network, FEATURE_NOISE
    logsnr = float(-2 * torch.tensor(level).log())

    def features(x: Tensor) -> list[Tensor]:
        e = network.embed(torch.full((len(x),), logsnr, device=x.device), None)
        h = F.pixel_unshuffle(x, network.config.patch) if network.config.patch > 1 else x
        maps = [h := network.conv_in(h)]
        for module in network.down:
            maps.append(h := module(h, e))
        return maps

    return features


VGG = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg_features(weights: Path) -> Callable[[Tensor], list[Tensor]]:
    """The five last ReLU maps of VGG-16's blocks, LPIPS's "vgg", with weights from a safetensors file of torchvision's names.

    Raises:
        UserError: no file, a pickle, or other weights.
    """
    layers, channels = [], 3  # type: list[nn.Module], int
    for n, block in enumerate(VGG):
        layers += [nn.MaxPool2d(2)] if n else []
        for width in block:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
    network = nn.Sequential(*layers)
    tensors, _ = load_tensors(weights)
    # torchvision numbers the pooling at a block's end, we at the next one's start: the same indices.
    prefix = "features."
    fill(network, {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}, weights)
    network.eval().requires_grad_(False)
    last = [i for i, m in enumerate(layers) if i + 1 == len(layers) or isinstance(layers[i + 1], nn.MaxPool2d)]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])

    def features(x: Tensor) -> list[Tensor]:
        network.to(x.device)
        h = (x.expand(-1, 3, -1, -1) / 2 + 0.5 - mean.to(x)[:, None, None]) / std.to(x)[:, None, None]
        maps = []
        for i, module in enumerate(network):
            h = module(h)
            if i in last:
                maps.append(h)
        return maps

    return features


def terms(factors: Mapping[str, float], teacher: UNetTeacher, features: str) -> list[tuple[float, Term]]:
    """The loss of a recipe: {"l1": 1} or a mix such as {"l1": 0.5, "perceptual": 1}, as pairs of factor and term.

    Args:
        features: of the perceptual term: "teacher", or the path of VGG-16's weights.

    Raises:
        UserError: weights of VGG-16 that cannot be used.
    """
    known: dict[str, Callable[[], Term]] = {
        "l1": lambda: l1,
        "l2": lambda: l2,
        "perceptual": lambda: Perceptual(teacher_features(teacher) if features == "teacher" else vgg_features(Path(features))),
    }
    return [(float(factor), known[name]()) for name, factor in factors.items()]


def path_loss(predicted: Tensor, true: Tensor, weights: Tensor, loss: Sequence[tuple[float, Term]]) -> Tensor:
    """sum_i w_i * loss_i / sum_i w_i over the M time points, averaged over the batch; [B, M, C, H, W] both, weights [M].

    The paper divides by M instead of sum w_i, a constant factor that Adam does not see (clipping the gradient does).
    """
    share = weights / weights.sum()
    flat, other = predicted.flatten(0, 1), true.flatten(0, 1)
    total = torch.stack([factor * term(flat, other) for factor, term in loss]).sum(dim=0)  # [B * M]
    return (total.view(predicted.shape[:2]) * share).sum(dim=1).mean()
