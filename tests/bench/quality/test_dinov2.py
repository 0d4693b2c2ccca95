import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from bench.quality import dinov2
from bench.quality.dinov2 import VisionTransformer
from bench.quality.extractor import features_of, load_extractor
from samplers.errors import UserError
from samplers.files import sha256

SIZES = {"WIDTH": 32, "DEPTH": 2, "HEAD": 8, "TRAINED": 5}
HUGGING_FACE = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "mask_token": "embeddings.mask_token",
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "norm": "layernorm",
    "attn.proj": "attention.o_proj",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
}
"""What transformers calls the weights that have other names there."""


@pytest.fixture(scope="module")
def network() -> VisionTransformer:
    """A small one with random weights everywhere."""
    generator = torch.Generator().manual_seed(0)
    found = VisionTransformer(32, 2, 8, 5).eval()
    for p in found.parameters():
        p.data = torch.randn(p.shape, generator=generator) * (0.3 if p.ndim == 1 else p[0].numel() ** -0.5)
    return found


def theirs(network: VisionTransformer):
    """transformers' network with the same weights."""
    from transformers import Dinov2Config, Dinov2Model

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 70, "patch_size": 14}
    model = Dinov2Model(Dinov2Config(**sizes, layer_norm_eps=1e-6)).eval()
    state = {}
    for name, value in network.state_dict().items():
        if ".qkv." in name:
            block, _, kind = name.partition(".attn.qkv.")
            for part, piece in zip("qkv", value.chunk(3), strict=True):
                state[f"encoder.{block.replace('blocks', 'layer')}.attention.{part}_proj.{kind}"] = piece
            continue
        for ours, other in HUGGING_FACE.items():
            if ours in name and not (ours == "norm" and "blocks" in name):
                name = name.replace(ours, other)
                break
        state[f"encoder.{name.replace('blocks', 'layer')}" if "blocks" in name else name] = value
    model.load_state_dict(state)
    return model


def test_the_network_is_transformers(network):
    images = torch.randn(3, 3, 70, 70, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(network(images), theirs(network)(images).pooler_output, rtol=1e-4, atol=1e-5)


def test_positions_of_another_size_are_interpolated_with_the_offset(network):
    """As a sum of the four nearest positions each way, weighted by Keys' cubic with a = -0.75."""

    def cubic(x):
        x, a = abs(x), -0.75
        near, far = (a + 2) * x**3 - (a + 3) * x**2 + 1, a * (x**3 - 5 * x**2 + 8 * x - 4)
        return np.where(x <= 1, near, np.where(x < 2, far, 0))

    at = (np.arange(3) + 0.5) * 5 / 3.1 - 0.5
    weights = np.zeros((3, 5))
    for i, x in enumerate(at):
        for j in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
            weights[i, min(max(j, 0), 4)] += cubic(x - j)
    grid = network.pos_embed[0, 1:].unflatten(0, (5, 5)).detach().numpy()
    expected = np.einsum("ia,jb,abd->ijd", weights, weights, grid).reshape(9, 32)
    found = network.positions(3).detach()
    np.testing.assert_allclose(found[0, 1:].numpy(), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(found[:, 0], network.pos_embed[:, 0])
    assert torch.equal(network.positions(5), network.pos_embed)


@pytest.fixture
def installed(network, tmp_path, monkeypatch):
    """A file of its weights, in the place of the published one."""
    file = tmp_path / "hub" / "checkpoints" / "dinov2_vitl14_pretrain.pth"
    file.parent.mkdir(parents=True)
    torch.save(network.state_dict(), file)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(dinov2, "SHA256", sha256(file))
    for name, size in SIZES.items():
        monkeypatch.setattr(dinov2, name, size)
    monkeypatch.setattr(dinov2.DINOv2, "dimensions", 32)
    return file


def test_both_resizes_and_the_colours_are_those_of_their_references(installed, network):
    pixels = torch.randint(0, 256, (2, 3, 9, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    bigger = F.interpolate(pixels.float(), size=(224, 224), mode="bicubic", antialias=True)
    pictures = [Image.fromarray(p.permute(1, 2, 0).numpy(), "RGB").resize((224, 224), Image.Resampling.BICUBIC) for p in pixels]
    by_pillow = torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1) for p in pictures]).float()
    found = {}
    for spec, name, resized in (("dinov2", "dinov2", bigger), ("dinov2:pil", "dinov2-pil", by_pillow)):
        extractor = load_extractor(spec)
        assert (extractor.name, extractor.gives_fid, extractor.classes) == (name, False, None)
        found[name] = features_of(extractor, pixels).features
        with torch.no_grad():
            expected = network((resized / 255 - mean[:, None, None]) / deviation[:, None, None])
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found["dinov2"], found["dinov2-pil"], rtol=1e-4, atol=1e-5)
    grey = features_of(load_extractor("dinov2"), pixels[:, :1]).features
    torch.testing.assert_close(grey, features_of(load_extractor("dinov2"), pixels[:, :1].repeat(1, 3, 1, 1)).features)


def test_what_is_wrong_is_one_line(installed):
    with pytest.raises(UserError, match="unknown resize of dinov2 'pill'; did you mean 'pil'"):
        load_extractor("dinov2:pill")
    installed.write_bytes(b"x")
    with pytest.raises(UserError, match=r"SHA-256 is .*, that of DINOv2's weights .*; remove it to fetch it again"):
        load_extractor("dinov2")


def test_the_published_network_has_its_tensors():
    """Names and numbers of what is published: 304,368,640 parameters of 1.2 GB."""
    with torch.device("meta"):
        published = VisionTransformer(dinov2.WIDTH, dinov2.DEPTH, dinov2.HEAD, dinov2.TRAINED)
    assert sum(p.numel() for p in published.parameters()) == 304_368_640
    assert "blocks.23.ls2.gamma" in published.state_dict()
    assert "blocks.0.attn.qkv.bias" in published.state_dict()
