"""State dicts of guided-diffusion and consistency_models as teachers, and what is refused."""

import json
import math
import os

import pickled
import pytest
import torch
from command import call

import samplers
from samplers import UserError, load_teacher
from samplers.models.foreign.adm import PUBLISHED, read_adm
from samplers.models.foreign.adm_unet import ADMUNet
from samplers.models.foreign.convert import convert
from samplers.models.foreign.preconditioning import DDPM
from samplers.models.foreign.sizes import ADMSizes

SMALL = {"channels": 1, "outputs": 2, "image_size": 8, "classes": 3, "width": 32, "multipliers": [1, 2], "blocks": 1}
SMALL |= {"attention": [4], "head_width": 32}
FLAGS = {"image_size": 8, "num_head_channels": 32, "use_new_attention_order": True, "noise_schedule": "cosine"}


def write(path, flags=FLAGS, two=False, **changes):
    """A state dict, its flags beside it; its network. `two`: convolutions of one pixel have two dimensions."""
    network = pickled.shaken(ADMUNet(ADMSizes(**SMALL | changes)))
    state = network.state_dict()
    if two:
        state = {k: v[..., None] if k.endswith(("qkv.weight", "proj_out.weight")) else v for k, v in state.items()}
    torch.save(state, path)
    if flags is not None:
        path.with_suffix(".yaml").write_text(json.dumps(flags))
    return network


def cosine(t):
    """Noise level after step t of the cosine schedule whose steps keep at least 0.001 (arXiv 2102.09672, equation 17)."""
    kept, whole = lambda u: math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2, 1.0
    for i in range(t + 1):
        whole *= 1 - min(1 - kept((i + 1) / 1000) / kept(i / 1000), 0.999)
    return math.sqrt((1 - whole) / whole)


@pytest.mark.parametrize("order", [True, False])
@pytest.mark.parametrize("changes", [{}, {"outputs": 1, "classes": 0}, {"film": False, "residual_resampling": False}])
def test_a_state_dict_of_guided_diffusion(tmp_path, changes, order):
    flags = FLAGS | {"use_new_attention_order": order}
    network = write(tmp_path / "net.pt", flags, legacy_order=not order, **changes)
    if order:  # as DistributedDataParallel names them
        torch.save({f"module.{k}": v for k, v in network.state_dict().items()}, tmp_path / "net.pt")
    teacher = load_teacher(f"adm:{tmp_path / 'net.pt'}")
    own, original = teacher.network.state_dict(), network.state_dict()
    assert own.keys() == original.keys()
    assert all(torch.equal(own[k], original[k]) for k in original)
    assert (teacher.name, teacher.shape, teacher.num_classes) == ("net", (1, 8, 8), changes.get("classes", 3))
    assert (teacher.sigma_min, teacher.sigma_max) == pytest.approx((cosine(0), cosine(998)))
    assert teacher.card["note"] == "its last noise level, 20291, is left out"
    labels = torch.tensor([2, 0]) if teacher.num_classes else None
    for t in (3, 500, 990):
        s = cosine(t)
        x = s * torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        eps = network(x / math.sqrt(1 + s * s), torch.full((2,), float(t)), labels)[:, :1]
        torch.testing.assert_close(teacher(x, s, labels), x - s * eps, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("name", "low"), [("edm_imagenet64_ema", 0.0), ("cd_imagenet64_l2", 0.002), ("ct_imagenet64", 0.002)])
def test_a_state_dict_of_consistency_models(tmp_path, name, low):
    network = write(tmp_path / f"{name}.pt", {"image_size": 8, "num_head_channels": 32}, two=True, outputs=1)
    teacher = load_teacher(f"cm:{tmp_path / name}.pt")
    assert (teacher.name, teacher.sigma_min, teacher.sigma_max) == (name, 0.002, 80.0)
    assert ("in one call" in teacher.card.get("note", "")) is not name.startswith("edm")
    labels = torch.tensor([2, 0])
    for s in (0.002, 1.3, 80.0):
        x = s * torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        f = network(x / math.hypot(s, 0.5), torch.full((2,), 250 * math.log(s)), labels)
        expected = 0.25 / ((s - low) ** 2 + 0.25) * x + (s - low) * 0.5 / math.hypot(s, 0.5) * f
        torch.testing.assert_close(teacher(x, s, labels), expected, rtol=1e-4, atol=1e-4)


def test_the_linear_schedule():
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    assert DDPM().kept() == pytest.approx((1 - betas).cumprod(0).tolist(), rel=1e-9)
    schedule = DDPM().process().schedule
    assert (schedule.sigma_min, schedule.sigma_max) == pytest.approx((0.01000, 157.41), rel=1e-3)
    assert DDPM().process().note == ""


@pytest.mark.parametrize("key", PUBLISHED)
def test_published_networks_are_known_by_their_widths(tmp_path, monkeypatch, key):
    """Without weights: tensors of the meta device, and blocks enough to tell the levels apart."""
    flags, (width, multipliers) = PUBLISHED[key], key
    sizes = {"channels": 3, "outputs": 6, "image_size": flags.image_size, "classes": 1000, "width": width}
    sizes |= {
        "multipliers": multipliers,
        "blocks": 3 if width == 192 else 2,
        "attention": (32, 16, 8),
        "heads": flags.num_heads,
    }
    made = ADMSizes(**sizes, legacy_order=flags.image_size > 64)
    with torch.device("meta"):
        tensors = ADMUNet(made).state_dict()
    (tmp_path / "net.pt").write_bytes(b"")
    monkeypatch.setattr("samplers.models.foreign.adm._state_dict", lambda path: tensors)
    found = read_adm(tmp_path / "net.pt")
    assert found.network == made
    assert found.preconditioning.betas == ("cosine" if flags.image_size == 64 else "linear")


def test_converted_it_is_the_same_teacher(tmp_path, monkeypatch, capsys):
    write(tmp_path / "cd_net.pt", FLAGS, two=True, outputs=1)
    before = load_teacher(f"cm:{tmp_path / 'cd_net.pt'}")
    code, out, _ = call(monkeypatch, capsys, "convert", f"cm:{tmp_path / 'cd_net.pt'}", str(tmp_path / "mine.json"))
    assert code == 0
    assert "mine.json" in out.replace("\n", "")
    after = load_teacher(tmp_path / "mine.json")
    x, labels = torch.randn(2, 1, 8, 8), torch.tensor([2, 0])
    assert torch.equal(before(x, 0.7, labels), after(x, 0.7, labels))
    card = json.loads((tmp_path / "mine.json").read_text())
    assert card["source"] == {"file": "cd_net.pt", "sha256": before.sha256}
    assert card["preconditioning"]["family"] == "consistency"
    assert samplers.load_teacher(f"zoo:{tmp_path / 'mine.json'}").sha256 == card["sha256"] == after.sha256


def other(path):
    torch.save({"step": torch.zeros(2)}, path)


def nested(path):
    torch.save({"model": {"a": torch.zeros(2)}}, path)


def code(path):
    torch.save({"a": type("Call", (), {"__reduce__": lambda self: (os.mkdir, (str(path.with_name("canary")),))})()}, path)


def less(path):
    state = write(path).state_dict()
    del state["out.2.bias"]
    torch.save(state, path)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: None, "no checkpoint at"),
        (lambda path: path.write_bytes(b"junk"), "is no state dict .*nothing of it was run"),
        (code, "is no state dict .*nothing of it was run"),
        (nested, "holds more than tensors by name"),
        (other, "lacks 'time_embed.0.weight', so is no U-Net of guided-diffusion's"),
        (lambda path: write(path, None), r"by 1, 2 are of no published network; write its flags into cd_net.yaml"),
        (lambda path: write(path, {"num_heads": 2}), "cd_net.yaml.* image_size is missing"),
        (lambda path: write(path, FLAGS | {"image_size": 9}), "image_size: 9 has no 2 levels"),
        (lambda path: write(path, FLAGS | {"num_head_channels": 48}), "no network can be made of its sizes"),
        (lambda path: write(path, FLAGS | {"size": 9}), "unknown key 'size'"),
        (less, "'out.2.bias' is in one only"),
    ],
)
@pytest.mark.parametrize("kind", ["adm", "cm"])
def test_what_is_no_state_dict_of_theirs(tmp_path, monkeypatch, capsys, kind, make, told):
    path = tmp_path / "cd_net.pt"
    make(path)
    for run in (lambda: load_teacher(f"{kind}:{path}"), lambda: convert(f"{kind}:{path}", tmp_path / "c.json")):
        with pytest.raises(UserError, match=told) as e:
            run()
        assert "\n" not in str(e.value)
    assert not (tmp_path / "canary").exists()
    assert not (tmp_path / "c.json").exists()
    code, _, said = call(monkeypatch, capsys, "convert", f"{kind}:{path}", str(tmp_path / "c.json"))
    assert (code, said.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("cm:other.pt", "c.json"), "call the file edm, cd, ct_....pt"),
        (("emd:net.pkl", "c.json"), "unknown kind of checkpoint 'emd'; did you mean 'edm'"),
        (("net.pkl", "c.json"), "(known: adm, cm, edm); write KIND:FILE"),
        (("edm:gone.pkl", "c.json"), "cannot read gone.pkl: No such file or directory"),
    ],
)
def test_mistakes_of_the_command(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    code, _, said = call(monkeypatch, capsys, "convert", *words)
    assert code == 2
    assert told in said
    assert said.count("\n") == 1


def test_a_card_names_json(tmp_path):
    write(tmp_path / "net.pt")
    with pytest.raises(UserError, match=r"names no card; write OUT as NAME\.json"):
        convert(f"adm:{tmp_path / 'net.pt'}", tmp_path / "net")


JUNK = (None, True, -1, 0, 1.5, 10**30, math.nan, "", "a\nb", "x" * 10**5, [], [[1]], {}, {"a": [{}]})


@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
def test_forged_cards(tmp_path, junk):
    """Every key: a refusal of a line that names the card, or a teacher of the same weights."""
    write(tmp_path / "net.pt")
    card = json.loads(convert(f"adm:{tmp_path / 'net.pt'}", tmp_path / "c.json").read_text())
    x, labels = torch.zeros(1, 1, 8, 8), torch.tensor([0])
    sections = [card, card["network"], card["preconditioning"]]
    for section in sections:
        for key, value in list(section.items()):
            section[key] = junk
            (tmp_path / "c.json").write_text(json.dumps(card))
            section[key] = value
            told = str(tmp_path / "c.json")
            try:
                load_teacher(tmp_path / "c.json")(x, 1.0, labels)
            except UserError as e:
                told = str(e)
            assert "\n" not in told
            assert len(told) < 1000
            assert "c.json" in told or "c.safetensors" in told or key == "name", (key, told)
