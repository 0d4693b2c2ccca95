"""The U-Net: the published sizes, labels, patches, batches."""

import math

import pytest
import torch

from samplers.models.sizes import UNetConfig
from samplers.models.unet import Attention, UNet, parameter_count

SMALL = {"channels": 1, "image_size": 8, "width": 8, "multipliers": (1, 2), "blocks": 1, "attention": (4,), "embedding": 16}


def randomised(config: UNetConfig) -> UNet:
    """With no zero weights, so that every part shows in the output."""
    torch.manual_seed(0)
    network = UNet(config).eval()
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return network.requires_grad_(False)


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (UNetConfig(), 60_004_099),
        (
            UNetConfig(
                image_size=64,
                width=192,
                multipliers=(1, 2, 3, 4),
                blocks=3,
                attention=(32, 16, 8),
                heads=0,
                head_width=64,
                embedding=768,
                classes=1000,
            ),
            295_900_035,
        ),
    ],
    ids=["cifar10", "imagenet64"],
)
def test_published_parameter_counts(config, count):
    """DSNO's backbones as released (literature: measured by instantiating them)."""
    with torch.device("meta"):
        assert parameter_count(UNet(config)) == count


def test_heads_by_width():
    with torch.device("meta"):
        network = UNet(UNetConfig(image_size=16, width=64, multipliers=(1, 2), attention=(16, 8), heads=0, head_width=32))
    heads = {m.norm.num_channels: m.heads for m in network.modules() if isinstance(m, Attention)}
    assert heads == {64: 2, 128: 4}


def test_fresh_network_predicts_zero():
    network = UNet(UNetConfig(**SMALL))
    assert not network(torch.randn(2, 1, 8, 8), torch.zeros(2)).any()


def test_output_depends_on_noise_level_and_label():
    network, x = randomised(UNetConfig(**SMALL, classes=3)), torch.randn(1, 1, 8, 8)
    outs = [network(x, torch.tensor([v]), torch.tensor([k])) for v, k in ((0.0, 0), (5.0, 0), (0.0, 1), (0.0, -1))]
    assert all((a - b).abs().max() > 1e-4 for i, a in enumerate(outs) for b in outs[:i])


def test_label_of_minus_1_is_no_label():
    network, x, logsnr = randomised(UNetConfig(**SMALL, classes=3)), torch.randn(2, 1, 8, 8), torch.tensor([-3.0, 4.0])
    assert torch.equal(network(x, logsnr, torch.tensor([-1, -1])), network(x, logsnr))


def test_labels_mean_nothing_to_an_unconditional_network():
    network, x, logsnr = randomised(UNetConfig(**SMALL)), torch.randn(2, 1, 8, 8), torch.zeros(2)
    assert torch.equal(network(x, logsnr, torch.tensor([0, 2])), network(x, logsnr))


def test_time_is_about_t_of_the_cosine_schedule():
    """What the embedding is fed, u = atan(exp(-logSNR / 2)) / (pi / 2), is the schedule's t but for the cut ends."""
    from samplers import Cosine

    schedule = Cosine()
    for t in (0.1, 0.5, 0.9):
        logsnr = -2 * math.log(schedule.sigma(t))
        assert math.atan(math.exp(-logsnr / 2)) / (math.pi / 2) == pytest.approx(t, abs=1e-4)


@pytest.mark.parametrize("patch", [2, 4])
def test_patches_go_back_where_they_came_from(patch):
    """With the network between them replaced by the identity, unshuffle and shuffle give the image back."""

    class Straight(UNet):
        def __init__(self, config):
            super().__init__(config)
            self.conv_in = torch.nn.Identity()
            self.down, self.middle, self.up = (torch.nn.ModuleList() for _ in range(3))
            self.norm_out = self.conv_out = torch.nn.Identity()

    x = torch.rand(2, 3, 16, 16) + 5  # SiLU is the identity for large numbers, nearly
    network = Straight(UNetConfig(**SMALL | {"channels": 3, "image_size": 16, "patch": patch}))
    torch.testing.assert_close(network(x, torch.zeros(2)), torch.nn.functional.silu(x))


@pytest.mark.parametrize("patch", [1, 2])
def test_shapes_with_patches(patch):
    network = randomised(UNetConfig(**SMALL | {"image_size": 8 * patch, "patch": patch}))
    x = torch.randn(2, 1, 8 * patch, 8 * patch)
    assert network(x, torch.zeros(2)).shape == x.shape
    assert network.conv_in.in_channels == patch**2


def test_image_does_not_depend_on_its_batch():
    network = randomised(UNetConfig(**SMALL, classes=3))
    x, logsnr, labels = torch.randn(16, 1, 8, 8), torch.linspace(-8, 12, 16), torch.arange(16) % 4 - 1
    whole = network(x, logsnr, labels)
    for i in (0, 7, 15):
        one = network(x[i : i + 1], logsnr[i : i + 1], labels[i : i + 1])
        torch.testing.assert_close(one[0], whole[i], rtol=0, atol=1e-5)


def test_attention_is_softmax_attention():
    """Against the definition, one head at a time."""
    torch.manual_seed(0)
    module = Attention(8, 2)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(0.3 * torch.randn_like(p))
    x = torch.randn(1, 8, 3, 3)
    q, k, v = module.qkv(module.norm(x)).flatten(2)[0].chunk(3)  # each [C, HW]
    heads = []
    for i in (slice(0, 4), slice(4, 8)):
        weights = (q[i].T @ k[i] / 4**0.5).softmax(1)  # [HW, HW]
        heads.append(v[i] @ weights.T)
    expected = x + module.out(torch.cat(heads).reshape(1, 8, 3, 3))
    torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-6)


def test_config_round_trip():
    import json

    config = UNetConfig(**SMALL, classes=7, dropout=0.1)
    assert UNetConfig(**json.loads(json.dumps(config.values()))) == config
