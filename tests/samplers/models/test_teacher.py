"""The teacher: one denoiser whatever the network predicts, and loading it from the zoo or a path."""

import json
import shutil

import pytest
import torch
from exact import Gaussian
from torch import nn

import samplers
from samplers import Cosine, Denoiser, UNetTeacher, UserError, load_teacher
from samplers.denoiser import schedule_of
from samplers.models.scaling import VP
from samplers.models.sizes import UNetConfig
from samplers.models.unet import UNet
from samplers.models.weights import save_tensors
from samplers.models.zoo import add_zoo, find_card, known_cards, zoo

SIZES = {
    "channels": 1,
    "image_size": 8,
    "width": 8,
    "multipliers": (1,),
    "blocks": 1,
    "attention": (),
    "embedding": 16,
    "classes": 3,
}
SCHEDULE = Cosine(0.002, 80.0)


class ExactNetwork(nn.Module):
    """What a perfect network of a parameterisation outputs for Gaussian data: network(x_vp, logsnr, labels)."""

    def __init__(self, parameterisation: str):
        super().__init__()
        self.parameterisation = parameterisation
        self.config = UNetConfig(channels=6, image_size=1, multipliers=(1,), classes=0)

    def forward(self, x_vp, logsnr, labels=None):
        alpha = torch.sigmoid(logsnr).sqrt()[:, None, None, None]  # logSNR = log(alpha^2 / (1 - alpha^2))
        sigma_vp = torch.sigmoid(-logsnr).sqrt()[:, None, None, None]
        x0 = Gaussian()(x_vp / alpha, torch.exp(-logsnr / 2))
        eps = (x_vp - alpha * x0) / sigma_vp
        return {"x": x0, "eps": eps, "v": alpha * eps - sigma_vp * x0}[self.parameterisation]


@pytest.mark.parametrize("sigma", [0.002, 0.3, 1.0, 7.0, 80.0])
@pytest.mark.parametrize("parameterisation", VP)
def test_every_parameterisation_gives_the_same_image(parameterisation, sigma):
    """The network outputs are made from alpha and sigma_vp of a VP process, so the conversions are checked from outside."""
    teacher = UNetTeacher(ExactNetwork(parameterisation), parameterisation, SCHEDULE)
    x = torch.randn(4, 6, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * (1 + sigma)
    torch.testing.assert_close(teacher(x, sigma), Gaussian()(x, sigma), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("parameterisation", VP)
def test_sigma_as_float_scalar_tensor_and_batch_agree(small_teacher, parameterisation):
    teacher = UNetTeacher(small_teacher.network, parameterisation, SCHEDULE)
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for sigma in (0.01, 1.3, 60.0):
        by_float = teacher(x, sigma)
        torch.testing.assert_close(teacher(x, torch.tensor(sigma)), by_float, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(teacher(x, torch.full((3,), sigma, dtype=torch.float64)), by_float, rtol=1e-5, atol=1e-5)


def test_each_image_may_have_its_own_sigma(small_teacher):
    x, sigmas = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)), [0.1, 1.0, 10.0]
    together = small_teacher(x, torch.tensor(sigmas), torch.tensor([0, -1, 4]))
    for i, (sigma, label) in enumerate(zip(sigmas, (0, -1, 4), strict=True)):
        alone = small_teacher(x[i : i + 1], sigma, torch.tensor([label]))
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-5, atol=1e-5)


def test_teacher_is_a_denoiser(small_teacher):
    assert isinstance(small_teacher, Denoiser)
    assert (small_teacher.sigma_min, small_teacher.sigma_max) == (0.002, 80.0)
    assert small_teacher.shape == (1, 8, 8)
    assert small_teacher.num_classes == 5
    assert isinstance(Gaussian(), Denoiser)


def test_schedule_is_the_denoisers_own_or_the_cosine_of_its_range(small_teacher):
    assert schedule_of(small_teacher) is small_teacher.schedule
    assert schedule_of(Gaussian(0.1, 9.0)) == Cosine(0.1, 9.0)


def test_unknown_parameterisation(small_teacher):
    with pytest.raises(UserError, match="unknown parameterisation 'epsilon'; did you mean 'eps'"):
        UNetTeacher(small_teacher.network, "epsilon", SCHEDULE)


@pytest.fixture
def card(tmp_path):
    """A card with its weights, as `bench train` leaves them (fp16), and the network they came from."""
    torch.manual_seed(0)
    network = UNet(UNetConfig(**SIZES))
    with torch.no_grad():
        for p in network.parameters():
            p.copy_((p + 0.1 * torch.randn_like(p)).half())
    digest = save_tensors(tmp_path / "tiny.safetensors", {k: v.half() for k, v in network.state_dict().items()})
    content = {
        "name": "tiny",
        "kind": "teacher",
        "weights": "tiny.safetensors",
        "sha256": digest,
        "network": UNetConfig(**SIZES).values(),
        "parameterisation": "x",
        "sigma_min": 0.01,
        "sigma_max": 50.0,
    }
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(content))
    return path, content, network


def test_load_teacher_from_a_card(card):
    path, content, network = card
    teacher = load_teacher(path)
    assert (teacher.name, teacher.sha256, teacher.num_classes) == ("tiny", content["sha256"], 3)
    assert (teacher.sigma_min, teacher.sigma_max) == (0.01, 50.0)
    assert not teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())
    x = torch.randn(2, 1, 8, 8)
    assert teacher(x, 1.0).dtype == torch.float32
    torch.testing.assert_close(teacher(x, 1.0), network(x / 2**0.5, torch.zeros(2)), rtol=1e-4, atol=1e-5)


def rewrite(card, **changes):
    path, content, _ = card
    path.write_text(json.dumps(content | changes))
    return path


def test_a_card_says_where_sampling_may_end(card):
    """Without the key, as old cards are, at sigma_min; with it every walk ends there, and the schedule's range stays."""
    assert load_teacher(card[0]).sigma_end == 0.01
    teacher = load_teacher(rewrite(card, sigma_end=0.04))
    assert (teacher.sigma_end, teacher.schedule.sigma_min) == (0.04, 0.01)
    assert samplers.get("heun").levels(teacher, 5)[-2:] == [0.04, 0.0]
    for wrong in (0.001, 50.0, "low"):
        with pytest.raises(UserError, match="sigma_end"):
            load_teacher(rewrite(card, sigma_end=wrong))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, "SHA-256 is .* the card says 000000000000"),
        ({"weights": "gone.safetensors"}, "no weights at .*gone.safetensors"),
        ({"kind": "extractor"}, "card of a extractor, not of a teacher"),
        ({"network": UNetConfig(**SIZES | {"width": 16}).values()}, "the network needs"),
        ({"network": UNetConfig(**SIZES | {"classes": 0}).values()}, "of another network"),
        ({"parameterisation": "vv"}, "unknown parameterisation 'vv'"),
        ({"network": {"widht": 8}}, "widht"),
    ],
)
def test_a_card_that_does_not_fit_is_one_line(card, changes, message):
    with pytest.raises(UserError, match=message) as e:
        load_teacher(rewrite(card, **changes))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("key", ["weights", "sha256", "network", "parameterisation", "sigma_max", "name"])
def test_a_card_without_a_key_says_which(card, key):
    path, content, _ = card
    path.write_text(json.dumps({k: v for k, v in content.items() if k != key}))
    with pytest.raises(UserError, match=rf"tiny\.json: {key} is missing"):
        load_teacher(path)


@pytest.mark.parametrize("text", ["not json", "[]", '"teacher"', ""])
def test_a_card_that_is_no_card(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"x\.json"):
        find_card("teacher", path)


def test_unknown_teacher_is_one_line():
    with pytest.raises(UserError, match="unknown teacher 'minst'"):
        load_teacher("minst")


def test_missing_card_file(tmp_path):
    with pytest.raises(UserError, match=r"no card at .*none\.json"):
        load_teacher(tmp_path / "none.json")


def test_a_user_s_own_trainings_are_found_before_what_ships(card, tmp_path, monkeypatch):
    """In the folder told of and in those right in it, by name; a folder asked for stays what it is."""
    monkeypatch.setattr("samplers.models.zoo._trained", [])
    content = card[1]
    with pytest.raises(UserError, match="unknown teacher 'tiny'"):
        load_teacher("tiny")
    add_zoo(tmp_path)
    assert load_teacher("tiny").sha256 == content["sha256"]
    assert load_teacher("mnist32").name == "mnist32"
    below = tmp_path / "mine-teacher"
    below.mkdir()
    shutil.copy(tmp_path / "tiny.safetensors", below)
    (below / "mnist32.json").write_text(json.dumps(content | {"name": "own"}))
    assert load_teacher("mnist32").name == "own"
    assert list(known_cards("teacher"))[:2] == ["tiny", "mnist32"]
    assert "tiny" not in zoo("teacher")
    with pytest.raises(UserError, match=r"no folder .*none to find cards in"):
        add_zoo(tmp_path / "none")
