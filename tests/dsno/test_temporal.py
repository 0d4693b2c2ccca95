"""The temporal layer: a block-circulant matrix over time, in three forms that are one map."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import SIZES, mixing, randomised, relative

from dsno.network import DSNO, DSNOConfig
from dsno.temporal import FORMS, TemporalLayer
from samplers import UserError

C = 3
SIZES_IN_TIME = [(1, 1), (2, 1), (2, 2), (3, 2), (4, 1), (4, 2), (4, 3), (8, 3), (8, 5)]
EVERY_SIZE = pytest.mark.parametrize(("points", "modes"), SIZES_IN_TIME)
EVERY_FORM = pytest.mark.parametrize("form", FORMS)


def layer_of(points: int, modes: int, form: str, channels: int = C) -> TemporalLayer:
    """With large weights, the same in every form."""
    layer = TemporalLayer(channels, points, modes, form)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(0)))
    return layer


def features(points: int, batch: int = 2, channels: int = C) -> torch.Tensor:
    return torch.randn(batch * points, channels, 5, 4, generator=torch.Generator().manual_seed(1))


def by_circulant(layer: TemporalLayer, u: torch.Tensor) -> torch.Tensor:
    """u + LeakyReLU(K u), in numpy's float64: block (m, n) of K is irfft(R)[(m - n) mod M]."""
    points, channels = layer.points, layer.channels
    w = layer.weight.detach().double().numpy()
    kernel = np.fft.irfft(w[..., 0] + 1j * w[..., 1], n=points, axis=2)  # [C_in, C_out, M]
    matrix = np.zeros((points * channels, points * channels))
    for m in range(points):
        for n in range(points):
            block = kernel[:, :, (m - n) % points].T
            matrix[m * channels : (m + 1) * channels, n * channels : (n + 1) * channels] = block
    joined = u.double().numpy().reshape(-1, points * channels, *u.shape[2:])
    mixed = np.einsum("ij,bjhw->bihw", matrix, joined).reshape(u.shape)
    return u.double() + torch.from_numpy(np.where(mixed > 0, mixed, 0.01 * mixed))


@EVERY_FORM
@EVERY_SIZE
def test_zero_weights_are_the_identity(points, modes, form):
    layer = layer_of(points, modes, form)
    torch.nn.init.zeros_(layer.weight)
    u = features(points)
    assert torch.equal(layer(u), u)


@EVERY_FORM
@EVERY_SIZE
def test_layer_is_the_circulant_matrix(points, modes, form):
    layer, u = layer_of(points, modes, form), features(points)
    assert relative(layer(u), by_circulant(layer, u)) < 1e-5


@EVERY_SIZE
def test_layer_is_the_published_formula(points, modes):
    """u + LeakyReLU(irfft(R_j rfft(u)_j)), by torch.fft in float64."""
    layer, u = layer_of(points, modes, "fft"), features(points)
    path = u.double().reshape(-1, points, *u.shape[1:])
    spectrum = torch.fft.rfft(path, dim=1)
    product = torch.zeros_like(spectrum)  # the modes above J are dropped
    for j in range(modes):
        matrix = torch.complex(*layer.weight[:, :, j].detach().double().unbind(-1))
        product[:, j] = torch.einsum("bchw,cd->bdhw", spectrum[:, j], matrix)
    expected = path + F.leaky_relu(torch.fft.irfft(product, n=points, dim=1), 0.01)
    assert relative(layer(u), expected.flatten(0, 1)) < 1e-5


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("fold", [False, True])
@EVERY_SIZE
def test_forms_agree(points, modes, fold, channels_last):
    u = features(points)
    if channels_last:
        u = u.contiguous(memory_format=torch.channels_last)
    whole, last = {}, {}
    for form in FORMS:
        layer = layer_of(points, modes, form).eval()
        if fold:
            layer.fold()
        whole[form], last[form] = layer(u), layer(u, last_only=True)
    for form in FORMS:
        assert whole[form].shape == u.shape
        assert relative(whole[form], whole["fft"]) < 1e-5
        assert last[form].shape == (2, *u.shape[1:])
        assert relative(last[form], whole["fft"].reshape(2, points, *u.shape[1:])[:, -1]) < 1e-5


@EVERY_FORM
def test_one_point_is_a_linear_map_of_each_pixel(form):
    layer, u = layer_of(1, 1, form), features(1)
    real = layer.weight[:, :, 0, 0]
    assert relative(layer(u), u + F.leaky_relu(torch.einsum("bchw,cd->bdhw", u, real), 0.01)) < 1e-5
    before = layer(u)
    with torch.no_grad():
        layer.weight[..., 1] += 1.0  # the imaginary part
    assert torch.equal(layer(u), before)


def gradients(points: int, modes: int, form: str) -> tuple[torch.Tensor, torch.Tensor]:
    layer, u = layer_of(points, modes, form), features(points).requires_grad_()
    out = layer(u)
    out.backward(torch.randn(out.shape, generator=torch.Generator().manual_seed(2)))
    return layer.weight.grad, u.grad


@EVERY_SIZE
def test_gradients_of_the_forms_agree(points, modes):
    weight, u = gradients(points, modes, "fft")
    for form in ("folded", "split"):
        own_weight, own_u = gradients(points, modes, form)
        assert relative(own_weight, weight) < 1e-5
        assert relative(own_u, u) < 1e-5


@EVERY_FORM
@EVERY_SIZE
def test_what_a_real_signal_lacks_gets_no_gradient(points, modes, form):
    """The imaginary part of mode 0, and of mode M / 2 where M is even; every other number gets some."""
    weight, _ = gradients(points, modes, form)
    dead = torch.zeros(modes, 2, dtype=torch.bool)
    dead[0, 1] = True
    if 2 * (modes - 1) == points:
        dead[-1, 1] = True
    assert not weight[:, :, 0, 1].any()
    assert weight[:, :, dead].abs().max() < 1e-6
    assert (weight[:, :, ~dead] != 0).all()


@pytest.mark.parametrize("form", ["folded", "split"])
def test_folding_lasts_until_training(form):
    layer, u = layer_of(4, 2, form).eval(), features(4)
    layer.fold()
    folded = layer(u)
    with torch.no_grad():
        layer.weight.mul_(-2)
    assert torch.equal(layer(u), folded)
    assert torch.equal(layer.eval()(u), folded)
    layer.train()
    fresh = by_circulant(layer, u)
    assert relative(layer(u), fresh) < 1e-5
    assert relative(layer.eval()(u), fresh) < 1e-5
    assert relative(folded, fresh) > 0.1
    layer.fold()
    assert relative(layer(u), fresh) < 1e-5


def test_network_folds_and_forgets_all_its_layers():
    network = mixing(randomised(DSNO(SIZES, DSNOConfig())))
    z, logsnr = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([[-1.0, 0.0, 2.0, 9.0]] * 2)
    before = network(z, logsnr)
    folded = network.fold()(z, logsnr)
    assert relative(folded, before) < 1e-5
    mixing(network, seed=2)
    assert torch.equal(network(z, logsnr), folded)
    changed = network.train().eval()(z, logsnr)
    assert relative(changed, folded) > 0.01


@EVERY_FORM
def test_fresh_layer_is_tiny(form):
    """U(0, 1) / C^2, as published: every number positive, the branch small beside the skip."""
    torch.manual_seed(0)
    layer = TemporalLayer(32, 4, 2, form)
    assert layer.weight.shape == (32, 32, 2, 2)
    scaled = layer.weight.detach() * 32**2
    assert scaled.min() >= 0
    assert scaled.max() <= 1
    assert float(scaled.mean()) == pytest.approx(0.5, abs=0.03)
    u = features(4, channels=32)
    assert 0 < (layer(u) - u).norm() / u.norm() < 0.01


@pytest.mark.parametrize("fold", [False, True])
@EVERY_FORM
def test_bfloat16_is_near(form, fold):
    layer, u = layer_of(4, 2, form, channels=16).eval(), features(4, channels=16)
    if fold:
        layer.fold()
    exact = layer(u)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for given in (u, u.bfloat16()):
            out = layer(given).float()
            assert (out - exact).norm() / exact.norm() < 2e-2
        for size in (1e-20, 1e-4, 1e4, 1e15):
            assert torch.isfinite(layer(size * u)).all()


@EVERY_FORM
def test_bfloat16_network_is_near(form):
    network = mixing(randomised(DSNO(SIZES, DSNOConfig(), form)), size=0.3)
    z, logsnr = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([[-1.0, 0.0, 2.0, 9.0]] * 4)
    exact = network(z, logsnr)
    with torch.autocast("cpu", torch.bfloat16):
        out = network(z, logsnr).float()
        assert torch.isfinite(network(1e6 * z, logsnr)).all()
    assert 0 < (out - exact).norm() / exact.norm() < 3e-2  # the tiny backbone alone errs by 2e-2


@pytest.mark.parametrize(("points", "modes"), [(4, 0), (4, 4), (1, 2), (8, 6), (3, -1)])
def test_modes_that_do_not_fit(points, modes):
    told = f"{points} time points have {points // 2 + 1} Fourier modes; modes must be 1 to that, got {modes}"
    with pytest.raises(UserError) as e:
        TemporalLayer(C, points, modes)
    assert str(e.value) == told


def test_unknown_form():
    with pytest.raises(UserError, match="unknown form of the temporal layer 'spilt'; did you mean 'split'"):
        TemporalLayer(C, 4, 2, "spilt")
