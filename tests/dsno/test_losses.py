"""The losses of a student: on paths, of images, and of the features of a teacher or of VGG-16."""

import math
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from changed import changed
from tiny import SIZES, images, relative, teacher_of
from torch import nn

from dsno.losses import Perceptual, l1, l2, path_loss, teacher_features, terms, vgg_features
from samplers import UserError
from samplers.models.weights import save_tensors


@pytest.mark.parametrize(
    ("factors", "formula"),
    [
        ({"l1": 1.0}, lambda d: np.abs(d)),
        ({"l2": 1.0}, lambda d: d**2),
        ({"l1": 0.5, "l2": 3.0}, lambda d: 0.5 * np.abs(d) + 3 * d**2),
    ],
)
def test_path_loss_is_the_formula(factors, formula):
    """sum_i w_i mean_pixels / sum_i w_i, averaged over the batch."""
    predicted, true = images(0, 3, 4, 2, 5, 5), images(1, 3, 4, 2, 5, 5)
    weights = torch.tensor([1.0, 2.5, 10.0, 100.0])
    d = formula((predicted - true).double().numpy()).mean(axis=(2, 3, 4))  # [B, M]
    w = weights.double().numpy()
    expected = (d * w / w.sum()).sum(axis=1).mean()
    found = path_loss(predicted, true, weights, terms(factors, teacher_of(), "teacher"))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_terms_are_means_of_each_image():
    a, b = images(0, 3, 1, 4, 4), images(1, 3, 1, 4, 4)
    torch.testing.assert_close(l1(a, b), torch.stack([(x - y).abs().mean() for x, y in zip(a, b, strict=True)]))
    torch.testing.assert_close(l2(a, b), torch.stack([(x - y).square().mean() for x, y in zip(a, b, strict=True)]))


def perceptual_by_hand(maps: list[torch.Tensor], others: list[torch.Tensor]) -> torch.Tensor:
    total = 0.0
    for f, g in zip(maps, others, strict=True):
        f, g = (m / m.norm(dim=1, keepdim=True) for m in (f.double(), g.double()))
        total = total + (f - g).square().sum(dim=1).mean(dim=(1, 2))
    return total


def test_perceptual_loss_of_the_teachers_features():
    teacher = teacher_of(changed(SIZES, patch=2, attention=(2,)))
    features, a, b = teacher_features(teacher), images(0, 2, 1, 8, 8).requires_grad_(), images(1, 2, 1, 8, 8)
    perceptual = Perceptual(features)
    assert not perceptual(b, b).any()
    loss = perceptual(a, b)
    assert loss.shape == (2,)
    assert (loss > 0).all()
    torch.testing.assert_close(loss.detach().double(), perceptual_by_hand(features(a), features(b)).detach(), rtol=1e-3, atol=0)
    loss.sum().backward()
    assert torch.isfinite(a.grad).all()
    assert (a.grad != 0).all()


def test_teachers_features_are_those_on_its_way_down():
    """Told sigma = 0.1 and no class."""
    teacher, seen = teacher_of(), []
    on_the_way = (teacher.network.conv_in, *teacher.network.down)
    hooks = [m.register_forward_hook(lambda _m, _a, out: seen.append(out)) for m in on_the_way]
    x = images(0, 2, 1, 8, 8)
    teacher.network(x, torch.full((2,), -2 * math.log(0.1)), None)
    for hook in hooks:
        hook.remove()
    found = teacher_features(teacher)(x)
    assert len(found) == len(seen) == 4
    assert all(relative(a, b) < 1e-6 for a, b in zip(found, seen, strict=True))


def test_perceptual_loss_of_features_all_zero():
    perceptual = Perceptual(lambda x: [x.relu()])
    a = torch.full((1, 3, 2, 2), -1.0, requires_grad=True)
    loss = perceptual(a, a.detach())
    loss.sum().backward()
    assert not loss.detach().any()
    assert torch.isfinite(a.grad).all()
    b = torch.zeros(1, 3, 2, 2, requires_grad=True)
    loss = Perceptual(lambda x: [x])(b, torch.ones(1, 3, 2, 2))
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(b.grad).all()


def test_perceptual_loss_of_the_scale_is_none():
    """Unit-normalised: what is left of a factor is the small constant's."""
    f = images(0, 1, 3, 4, 4)
    assert float(Perceptual(lambda x: [x])(5 * f, f)) < 1e-6
    assert float(Perceptual(lambda x: [x])(-f, f)) == pytest.approx(4, rel=1e-3)


def test_a_perceptual_loss_without_its_weights(tmp_path):
    with pytest.raises(UserError, match="no weights at"):
        terms({"perceptual": 1}, teacher_of(), str(tmp_path / "vgg.safetensors"))


@pytest.fixture(scope="module")
def vgg():
    """torchvision's own layers of VGG-16, random."""
    from torchvision.models.vgg import cfgs, make_layers

    torch.manual_seed(0)
    return make_layers(cfgs["D"]).eval().requires_grad_(False)


def test_vgg_features_are_torchvisions(vgg, tmp_path):
    path = tmp_path / "vgg.safetensors"
    extra = {"classifier.0.weight": torch.zeros(2, 2)}
    save_tensors(path, {f"features.{k}": v for k, v in vgg.state_dict().items()} | extra)
    features = vgg_features(path)
    for channels in (3, 1):
        x = images(0, 1, channels, 32, 32)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])  # ImageNet's, of [0, 1]
        h, expected = (((x + 1) / 2).expand(1, 3, 32, 32) - mean[:, None, None]) / std[:, None, None], []
        for module in vgg:
            if isinstance(module, nn.MaxPool2d):
                expected.append(h)
            h = F.relu(h) if isinstance(module, nn.ReLU) else module(h)  # torchvision's are in place
        found = features(x)
        assert [f.shape[1:] for f in found] == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)]
        assert all(relative(a, b) < 1e-5 for a, b in zip(found, expected, strict=True))


def test_vgg_weights_that_are_none(vgg, tmp_path):
    path = tmp_path / "vgg.pth"
    path.write_bytes(pickle.dumps({"features.0.weight": [1.0]}))
    with pytest.raises(UserError, match=r"not a whole safetensors file .*pickles are not read"):
        vgg_features(path)
    save_tensors(path, {f"features.{k}": v for k, v in list(vgg.state_dict().items())[:4]})
    with pytest.raises(UserError, match="weights are of another network"):
        vgg_features(path)
