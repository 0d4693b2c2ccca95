"""The networks of other people's checkpoints: what they compute, written out by hand in float64, and how large they are."""

import math

import pickled
import pytest
import torch
import torch.nn.functional as F

from samplers.models.foreign.adm_unet import ADMUNet
from samplers.models.foreign.edm2_unet import EDM2UNet
from samplers.models.foreign.edm_unets import DhariwalUNet, SongUNet
from samplers.models.foreign.sizes import ADMSizes, DhariwalSizes, EDM2Sizes, SongSizes

TINY = {"channels": 2, "outputs": 2, "image_size": 8, "classes": 3, "width": 64, "multipliers": [1, 2], "blocks": 1}
LEVELS = torch.tensor([0.3, -1.7], dtype=torch.float64)
LABELS = torch.tensor([2, 0])
SQUARE = (1, 3, 3, 1)


def norm(x, w, groups, eps):
    """Each group of channels of mean 0 and variance 1."""
    b, c, h, v = x.shape
    g = x.reshape(b, groups, -1)
    g = (g - g.mean(2, keepdim=True)) / (g.var(2, unbiased=False, keepdim=True) + eps).sqrt()
    return g.reshape(b, c, h, v) * w["weight"][:, None, None] + w["bias"][:, None, None]


def conv(x, w, bias=True):
    return F.conv2d(x, w["weight"], w["bias"] if bias else None, padding=w["weight"].shape[-1] // 2)


def blur(x, line):
    """Both axes by a filter of sum 1, with zeros outside; one pixel longer than before."""
    line = torch.tensor(line, dtype=x.dtype) / sum(line)
    pad = len(line) // 2
    x = F.pad(x, (pad,) * 4)
    n, m = (s - len(line) + 1 for s in x.shape[2:])
    return sum(
        a * b * x[:, :, i : i + n, j : j + m] for i, a in enumerate(line) for j, b in enumerate(line)
    )  # fmt: skip


def halved(x, line=(1, 1)):
    return blur(x, line)[:, :, 1::2, 1::2]


def doubled(x, line=(1, 1)):
    apart = torch.zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3], dtype=x.dtype)
    apart[:, :, ::2, ::2] = 4 * x
    return blur(apart, line)[:, :, : 2 * x.shape[2], : 2 * x.shape[3]]


def attention(qkv, heads, axis):
    """Softmax of q k / sqrt(c); `axis`: where q, k and v lie in (heads, channels, 3) or another order."""
    b, c, h, w = qkv.shape
    order = [heads, c // 3 // heads]
    order.insert(axis, 3)
    q, k, v = qkv.reshape(b, *order, h * w).unbind(axis + 1)  # each [B, heads, c, HW]
    weights = torch.einsum("bhcq,bhck->bhqk", q, k / math.sqrt(q.shape[2])).softmax(3)
    return torch.einsum("bhqk,bhck->bhcq", weights, v).reshape(b, c // 3, h, w)


def of(state, prefix):
    """What lies under a name: a layer's weight and bias."""
    return {k.removeprefix(f"{prefix}."): v for k, v in state.items() if k.startswith(f"{prefix}.")}


def linear(x, w):
    return x @ w["weight"].T + w.get("bias", 0)


def angles(times, half, last):
    return times[:, None] * torch.tensor([10000 ** (-i / last) for i in range(half)], dtype=times.dtype)


def edm_block(x, e, w, line, film, eps, scale, way="", heads=0):
    change = {"down": lambda t: halved(t, line), "up": lambda t: doubled(t, line), "": lambda t: t}[way]
    groups = [min(32, len(of(w, f"norm{i}")["weight"]) // 4) for i in (0, 1)]
    h = conv(change(F.silu(norm(x, of(w, "norm0"), groups[0], eps))), of(w, "conv0"))
    told = linear(e, of(w, "affine"))[:, :, None, None]
    if film:
        h = norm(h, of(w, "norm1"), groups[1], eps) * (1 + told[:, : h.shape[1]]) + told[:, h.shape[1] :]
    else:
        h = norm(h + told, of(w, "norm1"), groups[1], eps)
    x = change(x)
    x = scale * (conv(F.silu(h), of(w, "conv1")) + (conv(x, of(w, "skip")) if "skip.weight" in w else x))
    if not heads:
        return x
    a = attention(conv(norm(x, of(w, "norm2"), groups[1], eps), of(w, "qkv")), heads, 2)
    return scale * (x + conv(a, of(w, "proj")))


def song(w, x, times, labels, line=(1, 1), ncsn=False):
    a = 2 * math.pi * times[:, None] * w["map_noise.freqs"] if ncsn else angles(times, 32, 31)
    hot = F.one_hot(labels, 3).double() * math.sqrt(3)
    e = torch.cat([a.sin(), a.cos()], 1) + linear(hot, of(w, "map_label"))
    e = F.silu(linear(F.silu(linear(e, of(w, "map_layer0"))), of(w, "map_layer1")))
    b = lambda x, name, **k: edm_block(x, e, of(w, name), line, False, 1e-6, math.sqrt(0.5), **k)  # noqa: E731
    first = conv(x, of(w, "enc.8x8_conv"))
    second = b(first, "enc.8x8_block0")
    third = b(second, "enc.4x4_down", way="down")
    if ncsn:
        wide = F.conv2d(F.pad(x, (2,) * 4), w["enc.4x4_aux_residual.weight"])
        parts = [(p * q, wide[:, :, i::2, j::2][:, :, :4, :4]) for i, p in enumerate(line) for j, q in enumerate(line)]
        small = sum(p * part for p, part in parts) / sum(line) ** 2
        third = (third + small + w["enc.4x4_aux_residual.bias"][:, None, None]) / math.sqrt(2)
    fourth = b(third, "enc.4x4_block0", heads=1)
    x = b(b(fourth, "dec.4x4_in0", heads=1), "dec.4x4_in1")
    x = b(torch.cat([x, fourth], 1), "dec.4x4_block0")
    x = b(torch.cat([x, third], 1), "dec.4x4_block1", heads=1)
    x = b(x, "dec.8x8_up", way="up")
    x = b(torch.cat([x, second], 1), "dec.8x8_block0")
    x = b(torch.cat([x, first], 1), "dec.8x8_block1")
    return conv(F.silu(norm(x, of(w, "dec.8x8_aux_norm"), 16, 1e-6)), of(w, "dec.8x8_aux_conv"))


def dhariwal(w, x, times, labels):
    a = angles(times, 32, 32)
    e = linear(F.silu(linear(torch.cat([a.cos(), a.sin()], 1), of(w, "map_layer0"))), of(w, "map_layer1"))
    e = F.silu(e + w["map_label.weight"].T[labels])
    b = lambda x, name, **k: edm_block(x, e, of(w, name), (1, 1), True, 1e-5, 1, **k)  # noqa: E731
    first = conv(x, of(w, "enc.8x8_conv"))
    second = b(first, "enc.8x8_block0")
    third = b(second, "enc.4x4_down", way="down")
    fourth = b(third, "enc.4x4_block0", heads=2)
    x = b(b(fourth, "dec.4x4_in0", heads=2), "dec.4x4_in1")
    x = b(torch.cat([x, fourth], 1), "dec.4x4_block0", heads=2)
    x = b(torch.cat([x, third], 1), "dec.4x4_block1", heads=2)
    x = b(x, "dec.8x8_up", way="up")
    x = b(torch.cat([x, second], 1), "dec.8x8_block0")
    x = b(torch.cat([x, first], 1), "dec.8x8_block1")
    return conv(F.silu(norm(x, of(w, "out_norm"), 16, 1e-5)), of(w, "out_conv"))


def edm2(w, x, times, labels):
    def row(weight, gain=1.0):
        """Rows of unit norm: each over its root mean square (with 1e-4) and over the root of its length."""
        flat = weight.flatten(1)
        n = flat.shape[1]
        return (gain * flat / (1e-4 + flat.norm(dim=1, keepdim=True) / math.sqrt(n)) / math.sqrt(n)).reshape(weight.shape)

    def layer(x, name, gain=1.0):
        weight = row(w[f"{name}.weight"], gain)
        return x @ weight.T if weight.ndim == 2 else F.conv2d(x, weight, padding=weight.shape[-1] // 2)

    def act(x):
        return x * torch.sigmoid(x) / 0.596

    def mix(a, b, t):
        return ((1 - t) * a + t * b) / math.sqrt((1 - t) ** 2 + t**2)

    def join(a, b):
        n, m = a.shape[1], b.shape[1]
        return torch.cat([a * math.sqrt((n + m) / n / 2), b * math.sqrt((n + m) / m / 2)], 1)

    def pixel(x, dim):
        return x / (1e-4 + (x**2).mean(dim, keepdim=True).sqrt())

    def block(x, name, up, way="", heads=0):
        x = {"down": halved, "up": doubled, "": lambda t: t}[way](x)
        skip = f"{name}.conv_skip.weight" in w
        if not up:
            x = pixel(layer(x, f"{name}.conv_skip") if skip else x, 1)
        told = 1 + layer(e, f"{name}.emb_linear", w[f"{name}.emb_gain"])[:, :, None, None]
        h = layer(act(layer(act(x), f"{name}.conv_res0") * told), f"{name}.conv_res1")
        x = mix(layer(x, f"{name}.conv_skip") if up and skip else x, h, 0.3)
        if heads:
            qkv = layer(x, f"{name}.attn_qkv")
            b, c, n, m = qkv.shape
            qkv = pixel(qkv.reshape(b, heads, c // 3 // heads, 3, n * m), 2).reshape(b, c, n, m)
            x = mix(x, layer(attention(qkv, heads, 2), f"{name}.attn_proj"), 0.3)
        return x.clip(-1.5, 1.5)

    e = math.sqrt(2) * (times[:, None] * w["emb_fourier.freqs"] + w["emb_fourier.phases"]).cos()
    hot = F.one_hot(labels, 3).double() * math.sqrt(3)
    e = act(mix(layer(e, "emb_noise"), layer(hot, "emb_label"), 0.5))
    first = layer(torch.cat([x, torch.ones_like(x[:, :1])], 1), "enc.8x8_conv")
    second = block(first, "enc.8x8_block0", False)
    third = block(second, "enc.4x4_down", False, "down")
    fourth = block(third, "enc.4x4_block0", False, heads=4)
    x = block(block(fourth, "dec.4x4_in0", True, heads=4), "dec.4x4_in1", True)
    x = block(join(x, fourth), "dec.4x4_block0", True, heads=4)
    x = block(join(x, third), "dec.4x4_block1", True, heads=4)
    x = block(x, "dec.8x8_up", True, "up")
    x = block(join(x, second), "dec.8x8_block0", True)
    x = block(join(x, first), "dec.8x8_block1", True)
    return layer(x, "out_conv", w["out_gain"])


def adm(w, x, times, labels, legacy, film, residual, heads):
    def res(x, name, way=""):
        change = {"down": halved, "up": doubled, "": lambda t: t}[way]
        h = conv(change(F.silu(norm(x, of(w, f"{name}.in_layers.0"), 32, 1e-5))), of(w, f"{name}.in_layers.2"))
        told = linear(F.silu(e), of(w, f"{name}.emb_layers.1"))[:, :, None, None]
        n = h.shape[1]
        if film:
            h = norm(h, of(w, f"{name}.out_layers.0"), 32, 1e-5) * (1 + told[:, :n]) + told[:, n:]
        else:
            h = norm(h + told, of(w, f"{name}.out_layers.0"), 32, 1e-5)
        x, skip = change(x), of(w, f"{name}.skip_connection")
        return conv(F.silu(h), of(w, f"{name}.out_layers.3")) + (conv(x, skip) if skip else x)

    def attend(x, name):
        flat = {k: v[..., None] if v.ndim == 3 else v for k, v in of(w, name).items()}
        qkv = conv(norm(x, of(flat, "norm"), 32, 1e-5), of(flat, "qkv"))
        return x + conv(attention(qkv, heads, 1 if legacy else 0), of(flat, "proj_out"))

    def plain(x, name, way):
        if way == "down":
            return F.conv2d(x, w[f"{name}.op.weight"], w[f"{name}.op.bias"], padding=1, stride=2)
        return conv(doubled(x), of(w, f"{name}.conv"))

    change = res if residual else plain
    a = angles(times, 32, 32)
    e = linear(F.silu(linear(torch.cat([a.cos(), a.sin()], 1), of(w, "time_embed.0"))), of(w, "time_embed.2"))
    e = e + w["label_emb.weight"][labels]
    first = conv(x, of(w, "input_blocks.0.0"))
    second = res(first, "input_blocks.1.0")
    third = change(second, "input_blocks.2.0", "down")
    fourth = attend(res(third, "input_blocks.3.0"), "input_blocks.3.1")
    x = res(attend(res(fourth, "middle_block.0"), "middle_block.1"), "middle_block.2")
    x = attend(res(torch.cat([x, fourth], 1), "output_blocks.0.0"), "output_blocks.0.1")
    x = attend(res(torch.cat([x, third], 1), "output_blocks.1.0"), "output_blocks.1.1")
    x = change(x, "output_blocks.1.2", "up")
    x = res(torch.cat([x, second], 1), "output_blocks.2.0")
    x = res(torch.cat([x, first], 1), "output_blocks.3.0")
    return conv(F.silu(norm(x, of(w, "out.0"), 32, 1e-5)), of(w, "out.2"))


def equal(network, written, **options):
    network = pickled.shaken(network).double()
    x = torch.randn(2, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = written(network.state_dict(), x, LEVELS, LABELS, **options)
    assert expected.std() > 0.1, "or anything is equal"
    torch.testing.assert_close(network(x, LEVELS, LABELS), expected, rtol=1e-5, atol=1e-6)


def test_ddpm_pp():
    equal(SongUNet(SongSizes(**TINY, attention=[4], augmentation=9)), song)


def test_ncsn_pp():
    sizes = SongSizes(**TINY, attention=[4], time="fourier", time_multiplier=2, residual_input=True, kernel=SQUARE)
    equal(SongUNet(sizes), song, line=SQUARE, ncsn=True)


def test_adm_of_edm():
    equal(DhariwalUNet(DhariwalSizes(**TINY, attention=[4])), dhariwal)


def test_edm2():
    equal(EDM2UNet(EDM2Sizes(**TINY, attention=[4], head_width=32, clip=1.5)), edm2)


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("film", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_adm(legacy, film, residual):
    sizes = ADMSizes(
        **TINY, attention=[4], heads=4, legacy_order=legacy, film=film, residual_resampling=residual
    )  # fmt: skip
    equal(ADMUNet(sizes), adm, legacy=legacy, film=film, residual=residual, heads=4)


CIFAR = {**TINY, "channels": 3, "outputs": 3, "image_size": 32, "classes": 0, "width": 128, "multipliers": [2, 2, 2]}
CIFAR |= {"blocks": 4, "attention": [16], "augmentation": 9}
IMAGENET = {**TINY, "channels": 3, "outputs": 3, "image_size": 64, "classes": 1000, "width": 192, "multipliers": [1, 2, 3, 4]}
IMAGENET |= {"blocks": 3, "attention": [32, 16, 8]}
LARGE = IMAGENET | {"outputs": 6, "width": 256, "blocks": 2}
NCSN = {"time": "fourier", "time_multiplier": 2, "residual_input": True, "kernel": SQUARE}
LATENT = IMAGENET | {"channels": 4, "outputs": 4, "attention": [16, 8]}


@pytest.mark.parametrize(
    ("make", "sizes", "millions"),
    [
        (SongUNet, SongSizes(**CIFAR), 55.7),
        (SongUNet, SongSizes(**CIFAR | NCSN), 56.4),
        (SongUNet, SongSizes(**CIFAR | {"image_size": 64, "multipliers": [1, 2, 2, 2]}), 61.8),
        (DhariwalUNet, DhariwalSizes(**IMAGENET), 295.9),
        (ADMUNet, ADMSizes(**IMAGENET), 295.9),
        (ADMUNet, ADMSizes(**LARGE | {"image_size": 128, "multipliers": [1, 1, 2, 3, 4]}, heads=4), 421.5),
        (ADMUNet, ADMSizes(**LARGE | {"image_size": 256, "multipliers": [1, 1, 2, 2, 4, 4]}), 553.8),
        (ADMUNet, ADMSizes(**LARGE | {"image_size": 512, "multipliers": [0.5, 1, 1, 2, 2, 4, 4]}), 559.0),
        *((EDM2UNet, EDM2Sizes(**LATENT | {"width": w}), n) for w, n in ((128, 124.7), (192, 280.2), (448, 1523.2))),
    ],
)
def test_published_networks_are_as_large_as_published(make, sizes, millions):
    """The papers give 55.7 and 61.8 (DDPM++), 295.9 and 296 (ADM-64), 422, 554 and 559 (ADM), 125, 280 and 1523 (EDM2)."""
    with torch.device("meta"):
        network = make(sizes)
        labels = torch.zeros(2, dtype=torch.int64) if sizes.classes else None
        out = network(torch.zeros(2, sizes.channels, sizes.image_size, sizes.image_size), torch.zeros(2), labels)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)
    assert out.shape == (2, sizes.outputs, sizes.image_size, sizes.image_size)


@pytest.mark.parametrize("make", [SongUNet, DhariwalUNet, EDM2UNet, ADMUNet])
def test_bfloat16_by_autocast(make):
    sizes = {SongUNet: SongSizes, DhariwalUNet: DhariwalSizes, EDM2UNet: EDM2Sizes, ADMUNet: ADMSizes}[make](
        **TINY, attention=[4]
    )
    network, x = pickled.shaken(make(sizes)), torch.randn(2, 2, 8, 8)
    exact = network(x, LEVELS.float(), LABELS)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(x, LEVELS.float(), LABELS).float()
    assert 0 < (rounded - exact).std() / exact.std() < 0.1
