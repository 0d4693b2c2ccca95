"""Inception's features, in which alone the Frechet distance is FID: the extractor `inception`.

The network is torch-fidelity's, equal to the TensorFlow graph of 2015-12-05 that published figures come from, its resize
included; what it is compared by are the 2048 features of its last pooling, and the logits without their bias.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.quality.downloads import published
from bench.quality.extractor import Extractor, Features
from samplers.errors import UserError, one_line
from samplers.files import sha256
from samplers.models.weights import check_finite

URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
BLOCKS = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "MaxPool_1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "MaxPool_2"),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    *("Mixed_7a", "Mixed_7b", "Mixed_7c", "AvgPool"),
)
"""Of torch-fidelity's network, in order, from 3 x 299 x 299 to the features."""
SIDE = 299
FLAG = "--inception-weights FILE"
CHUNK, ON_CPU = 50, 16
"""Images per forward: at 299x299 each takes 14 MB in the first layers. A CPU has no use for many at once."""


class Inception(Extractor):
    """Inception's features of images of any size, grey or RGB; with other weights than the published ones, no FID."""

    shape = ((1, 3), None, None)
    classes, dimensions = 1008, 2048
    resize = "bilinear of TensorFlow 1 to 299x299"

    def __init__(self, network: Any, sha: str):
        self.network, self.sha256 = network, sha
        self.gives_fid = sha == SHA256
        self.name = "inception" if self.gives_fid else f"inception-{sha[:8]}"

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Features:
        cpu = images.device.type == "cpu"  # where convolutions of channels that lie side by side take half the time
        order = torch.channels_last if cpu else torch.contiguous_format
        self.network.to(images.device, memory_format=order)
        parts = []
        for part in images.split(ON_CPU if cpu else CHUNK):
            x = resized(part.float()).sub_(128).div_(128).expand(-1, 3, -1, -1).contiguous(memory_format=order)
            for name in BLOCKS:
                x = getattr(self.network, name)(x)
            parts.append(x.flatten(1))
        features = torch.cat(parts)
        return Features(features, features @ self.network.fc.weight.T)


def resized(images: Tensor, side: int = SIDE) -> Tensor:
    """float32 images [B, C, H, W] at [B, C, side, side], by TensorFlow 1's bilinear rule: output i lies at input i H / side.

    Its numbers are those of torch-fidelity's function, in an eighth of the time: columns first, which few rows have.
    """
    for dim in (3, 2):
        n = images.shape[dim]
        at = torch.arange(side, dtype=torch.float32, device=images.device) * (n / side)
        low = at.long()
        left, right = (images.index_select(dim, i) for i in (low, (low + 1).clamp_max(n - 1)))
        images = right.sub_(left).mul_((at - low).view(-1, *[1] * (3 - dim))).add_(left)
    return images


def load(rest: str = "") -> Inception:
    """Inception, with its published weights, or those of the file after "inception:".

    Raises:
        UserError: no such file, or one that cannot be fetched, or that holds anything else.
    """
    path = Path(rest) if rest else published(URL, SHA256, "Inception's weights", FLAG)
    try:
        sha = sha256(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as e:
        raise UserError(f"no weights at {one_line(path)} ({e.strerror}); fetch {URL}") from e
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as e:
        raise UserError(f"{path} holds no weights that can be read ({one_line(e)}); fetch {URL}") from e
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{path} is no state dict of tensors; fetch {URL}")
    check_finite(state, path)
    return Inception(_network(state, path), sha)


def load_published(path: str) -> Inception:
    """Inception of a file that has to be the published one.

    Raises:
        UserError: as `load`, or the file has another hash.
    """
    try:
        found = sha256(Path(path))
    except (OSError, ValueError) as e:  # ValueError: a name that no file can have
        raise UserError(f"no weights at {one_line(path)} ({getattr(e, 'strerror', None) or e}); fetch {URL}") from e
    if found != SHA256:
        said = f"{path}: SHA-256 is {found[:12]}..., that of Inception's published weights {SHA256[:12]}...; fetch {URL}"
        raise UserError(said)
    return load(path)


def _network(state: dict[str, Tensor], path: Path) -> Any:
    """torch-fidelity's network with these weights, which it gets as a file of ours: it would unpickle anything."""
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as e:
        raise UserError(f"Inception needs torch-fidelity, which does not load ({one_line(e)}); install it") from e
    file = io.BytesIO()
    torch.save(dict(state), file)
    file.seek(0)
    try:
        return FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=file)
    except RuntimeError as e:
        raise UserError(f"{path} holds weights of another network than Inception ({one_line(e)}); fetch {URL}") from e
