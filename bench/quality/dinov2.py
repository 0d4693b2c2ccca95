"""DINOv2's features (arXiv 2304.07193, ViT-L/14): the extractor `dinov2`, and with Pillow's resize `dinov2:pil`.

They are the class token of 224x224 images, as arXiv 2306.04675 scores them ("FD-DINOv2"). The resize is part of the figure, so
there are two: that of EDM2, whose statistics files are made with it, and that of the first paper's code. The network is
written from the paper for the published weights; no code of a repository is fetched.
"""

import math
import pickle

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from bench.quality.downloads import published
from bench.quality.extractor import Extractor, Features
from samplers.errors import UserError, one_line, unknown
from samplers.models.weights import check_finite, fill

URL = "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth"
SHA256 = "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428"
WIDTH, DEPTH, HEAD, PATCH, TRAINED, SIZE = 1024, 24, 64, 14, 37, 224
"""Of ViT-L/14: features, blocks, features a head, pixels of a patch, patches a side in training, pixels it gets here."""
OFFSET = 0.1
"""Added to the number of patches when positions are interpolated, as the published network does."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CHUNK = 64
RESIZES = {"": "bicubic of torch with antialias to 224x224", "pil": "bicubic of Pillow to 224x224"}


class Block(nn.Module):
    """A layer of a vision transformer whose branches are scaled (LayerScale, arXiv 2103.17239)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})
        self.ls1, self.ls2 = (nn.ParameterDict({"gamma": nn.Parameter(torch.ones(width))}) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.attn["qkv"](self.norm1(x)).unflatten(2, (3, self.heads, -1))  # [B, T, 3, heads, D / heads]
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # [B, T, D]
        x = x + self.ls1["gamma"] * self.attn["proj"](seen)
        return x + self.ls2["gamma"] * self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class VisionTransformer(nn.Module):
    """DINOv2's network, with its published names: normalised images [B, 3, 14 P, 14 P] -> class tokens [B, D]."""

    def __init__(self, width: int, depth: int, head: int, trained: int):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + trained**2, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))  # of its training, which the weights have
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, PATCH, PATCH)})
        self.blocks = nn.ModuleList(Block(width, width // head) for _ in range(depth))
        self.norm = nn.LayerNorm(width, 1e-6)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patch_embed["proj"](images)  # [B, D, P, P]
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), patches.flatten(2).transpose(1, 2)], 1)
        x = tokens + self.positions(patches.shape[-1])  # [B, 1 + P P, D]
        for block in self.blocks:
            x = block(x)
        return self.norm(x[:, 0])

    def positions(self, side: int) -> Tensor:
        """The embedding of positions for side x side patches, [1, 1 + side side, D]: bicubic, with the published offset."""
        trained = math.isqrt(self.pos_embed.shape[1] - 1)
        if side == trained:
            return self.pos_embed
        grid = self.pos_embed[:, 1:].unflatten(1, (trained, trained)).permute(0, 3, 1, 2)
        scale = (side + OFFSET) / trained
        grid = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], grid.flatten(2).transpose(1, 2)], 1)


class DINOv2(Extractor):
    """DINOv2's features of images of any size, grey or RGB."""

    shape = ((1, 3), None, None)
    dimensions = WIDTH

    def __init__(self, network: VisionTransformer, kind: str):
        self.network, self.sha256, self.resize = network, SHA256, RESIZES[kind]
        self.name = "dinov2" if not kind else f"dinov2-{kind}"
        self._resized = resized_by_pillow if kind else resized_by_torch

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Features:
        network = self.network.to(images.device)
        mean, deviation = (torch.tensor(v, device=images.device)[:, None, None] for v in (MEAN, DEVIATION))
        parts = images.expand(-1, 3, -1, -1).split(CHUNK)
        return Features(torch.cat([network((self._resized(part) / 255 - mean) / deviation) for part in parts]))


def resized_by_torch(images: Tensor) -> Tensor:
    """Floats [B, C, 224, 224] of about 0 to 255, beyond it where the cubic overshoots: EDM2's."""
    return F.interpolate(images.float(), size=(SIZE, SIZE), mode="bicubic", antialias=True)


def resized_by_pillow(images: Tensor) -> Tensor:
    """Floats [B, C, 224, 224], whole numbers of 0 to 255: that of arXiv 2306.04675."""
    pictures = (Image.fromarray(i) for i in images.permute(0, 2, 3, 1).cpu().numpy())
    small = np.stack([np.asarray(p.resize((SIZE, SIZE), Image.Resampling.BICUBIC)) for p in pictures])
    return torch.from_numpy(small).permute(0, 3, 1, 2).to(images.device).float()


def load(rest: str = "") -> DINOv2:
    """DINOv2 ViT-L/14, of 224x224 by torch's bicubic resize (EDM2's), or with "pil" by Pillow's.

    Raises:
        UserError: another word, or weights that cannot be fetched.
    """
    if rest not in RESIZES:
        raise unknown("resize of dinov2", rest, [kind for kind in RESIZES if kind])
    path = published(URL, SHA256, "DINOv2's weights", "TORCH_HOME, a folder that has them in hub/checkpoints")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as e:
        raise UserError(f"{path} holds no weights that can be read ({one_line(e)}); fetch {URL}") from e
    check_finite(state, path)
    with torch.device("meta"):
        network = VisionTransformer(WIDTH, DEPTH, HEAD, TRAINED)
    fill(network, state, path)
    return DINOv2(network.eval().requires_grad_(False), rest)
