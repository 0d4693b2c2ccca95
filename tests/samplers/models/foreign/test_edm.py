"""EDM's and EDM2's pickles as teachers: tensors bit for bit, what each preconditioning makes of them, what is refused."""

import math

import pickled
import pytest
import torch
from torch import nn

import samplers
from samplers import UserError, load_teacher
from samplers.models.foreign.convert import convert
from samplers.models.foreign.edm2_unet import EDM2UNet
from samplers.models.foreign.edm_unets import DhariwalUNet, SongUNet
from samplers.models.foreign.preconditioning import IDDPM
from samplers.models.foreign.sizes import DhariwalSizes, EDM2Sizes, SongSizes

SMALL = {
    "channels": 1,
    "outputs": 1,
    "image_size": 8,
    "classes": 0,
    "width": 8,
    "multipliers": [1, 2],
    "blocks": 1,
    "attention": [4],
}
ARGUMENTS = {
    "img_resolution": 8,
    "in_channels": 1,
    "out_channels": 1,
    "label_dim": 0,
    "model_channels": 8,
    "channel_mult": [1, 2],
    "num_blocks": 1,
    "attn_resolutions": [4],
    "dropout": 0.13,
}
DDPM_PP = {"augment_dim": 9, "embedding_type": "positional", "encoder_type": "standard", "decoder_type": "standard"}
DDPM_PP |= {"channel_mult_noise": 1, "resample_filter": [1, 1]}
NCSN_PP = DDPM_PP | {"embedding_type": "fourier", "encoder_type": "residual", "channel_mult_noise": 2, "augment_dim": 0}
NCSN_PP |= {"resample_filter": [1, 3, 3, 1]}
FOURIER = {"time": "fourier", "time_multiplier": 2, "residual_input": True, "kernel": (1, 3, 3, 1)}
DHARIWAL = {"width": 64, "classes": 3, "multipliers": [1, 1]}, {"model_channels": 64, "label_dim": 3, "channel_mult": [1, 1]}


def vp_level(t):
    return math.sqrt(math.exp(19.9 / 2 * t * t + 0.1 * t) - 1)


def vp_time(s):
    return (math.sqrt(0.1**2 + 2 * 19.9 * math.log(1 + s * s)) - 0.1) / 19.9


def iddpm_levels():
    """u_j as EDM's table 1 has it, j = 0 .. 1000."""
    alpha = lambda j: math.sin(math.pi / 2 * j / (1000 * (0.008 + 1))) ** 2  # noqa: E731
    u = [0.0] * 1001
    for j in range(1000, 0, -1):
        u[j - 1] = math.sqrt((u[j] ** 2 + 1) / max(alpha(j - 1) / alpha(j), 0.001) - 1)
    return u


def song(classes=0, **changes):
    return SongUNet(SongSizes(**SMALL | {"augmentation": 9, "classes": classes} | changes)), "SongUNet"


KINDS = {
    "edm-vp": (lambda: song(), DDPM_PP, "EDMPrecond", {"sigma_min": 0, "sigma_max": math.inf, "sigma_data": 0.5}),
    "edm-ve": (
        lambda: song(augmentation=0, **FOURIER),
        NCSN_PP,
        "EDMPrecond",
        {"sigma_min": 0, "sigma_max": math.inf, "sigma_data": 0.5},
    ),
    "edm-cond": (
        lambda: song(3),
        DDPM_PP | {"label_dim": 3},
        "EDMPrecond",
        {"sigma_min": 0, "sigma_max": math.inf, "sigma_data": 0.5},
    ),
    "edm-adm": (
        lambda: (DhariwalUNet(DhariwalSizes(**SMALL | DHARIWAL[0])), "DhariwalUNet"),
        DHARIWAL[1],
        "EDMPrecond",
        {"sigma_min": 0, "sigma_max": math.inf, "sigma_data": 0.5},
    ),
    "vp": (
        lambda: song(),
        DDPM_PP,
        "VPPrecond",
        {"beta_d": 19.9, "beta_min": 0.1, "M": 1000, "epsilon_t": 1e-5, "sigma_min": vp_level(1e-5), "sigma_max": vp_level(1)},
    ),
    "ve": (lambda: song(augmentation=0, **FOURIER), NCSN_PP, "VEPrecond", {"sigma_min": 0.02, "sigma_max": 100}),
    "iddpm": (
        lambda: (DhariwalUNet(DhariwalSizes(**SMALL | DHARIWAL[0] | {"outputs": 2})), "DhariwalUNet"),
        DHARIWAL[1] | {"out_channels": 2},
        "iDDPMPrecond",
        {"C_1": 0.001, "C_2": 0.008, "M": 1000, "_buffers": {"u": torch.tensor(iddpm_levels(), dtype=torch.float32)}},
    ),
    "edm2": (
        lambda: (EDM2UNet(EDM2Sizes(**SMALL | {"classes": 3, "head_width": 8})), "UNet"),
        {"label_dim": 3, "channels_per_head": 8, "img_channels": 1, "in_channels": None, "out_channels": None},
        "Precond",
        {"sigma_data": 0.5, "use_fp16": True, "label_dim": 3},
    ),
}
"""Kind -> (network and its class in the pickle, arguments besides the shared ones, preconditioning, its attributes)."""
RANGES = {"vp": (vp_level(1e-5), vp_level(1)), "ve": (0.02, 100), "iddpm": (iddpm_levels()[999], iddpm_levels()[1])}


def write(path, kind, encoder=None, half=False, source="", **changes):
    """A pickle of a kind; its network."""
    make, arguments, outer, state = KINDS[kind]
    network, name = make()
    pickled.shaken(network)
    arguments = {k: v for k, v in (ARGUMENTS | arguments | changes).items() if v is not None}
    if half:
        network.half()
    ema = pickled.wrapped(network, name, outer, arguments, source, **state)
    pickled.dump(path, pickled.EasyDict(ema=ema, loss_fn=None, augment_pipe=None, dataset_kwargs={}, encoder=encoder))
    return network.float()


def denoised(kind, network, x, s, labels):
    """What EDM's paper makes of the network's output."""
    time, skip, out, into = {
        "vp": lambda: (999 * vp_time(s), 1, -s, 1 / math.sqrt(1 + s * s)),
        "ve": lambda: (math.log(s / 2), 1, s, 1),
        "iddpm": lambda: (999 - iddpm_levels().index(s), 1, -s, 1 / math.sqrt(1 + s * s)),
    }.get(kind, lambda: (math.log(s) / 4, 0.25 / (s * s + 0.25), s / 2 / math.hypot(s, 0.5), 1 / math.hypot(s, 0.5)))()
    return skip * x + out * network(into * x, torch.full((len(x),), time), labels)[:, :1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_is_a_teacher(tmp_path, kind):
    canary = tmp_path / "canary"
    network = write(tmp_path / "net.pkl", kind, half=kind == "edm2", source=f"open({str(canary)!r}, 'w')")
    teacher = load_teacher(f"edm:{tmp_path / 'net.pkl'}")
    assert not canary.exists()
    own, original = teacher.network.state_dict(), network.state_dict()
    assert own.keys() == original.keys()
    assert all(torch.equal(own[k], original[k]) for k in original)
    assert (teacher.name, teacher.shape, len(teacher.sha256)) == ("net", (1, 8, 8), 64)
    assert (teacher.sigma_min, teacher.sigma_max) == pytest.approx(RANGES.get(kind, (0.002, 80)), rel=1e-6)
    labels = torch.tensor([2, 0]) if teacher.num_classes else None
    for s in (0.05, 1.3, 50.0) if kind != "iddpm" else (iddpm_levels()[n] for n in (995, 500, 2)):
        x = s * torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        expected = denoised(kind, network, x, s, labels)
        for level in (s, torch.tensor([s, s])):
            torch.testing.assert_close(teacher(x, level, labels), expected, rtol=1e-3, atol=1e-3)
    images = samplers.get("heun").sample(teacher, torch.randn(2, 1, 8, 8), steps=3, labels=labels)
    assert torch.isfinite(images).all()


@pytest.mark.parametrize("kind", KINDS)
def test_converted_it_is_the_same_teacher(tmp_path, kind):
    write(tmp_path / "net.pkl", kind, half=kind == "edm2")
    before = load_teacher(f"edm:{tmp_path / 'net.pkl'}")
    card = convert(f"edm:{tmp_path / 'net.pkl'}", tmp_path / "out" / "mine.json")
    (tmp_path / "net.pkl").unlink()
    after = load_teacher(card)
    assert (after.name, after.shape, after.num_classes, after.schedule) == (
        "mine",
        before.shape,
        before.num_classes,
        before.schedule,
    )
    labels, x = torch.tensor([2, 0]) if after.num_classes else None, torch.randn(2, 1, 8, 8)
    assert torch.equal(before(x, 0.7, labels), after(x, 0.7, labels))
    assert after.card["preconditioning"] == before.card["preconditioning"]


def test_a_table_that_jumps_is_cut_and_says_so(tmp_path):
    write(tmp_path / "net.pkl", "iddpm")
    teacher = load_teacher(f"edm:{tmp_path / 'net.pkl'}")
    assert teacher.card["note"] == "its last noise level, 20291, is left out"
    assert teacher.describe().trained == teacher.card["note"]
    assert IDDPM().levels() == pytest.approx(iddpm_levels(), rel=1e-9)


def test_labels_are_asked_for(tmp_path):
    """EDM's networks saw a class with every image, unless they say that they did not."""
    write(tmp_path / "cond.pkl", "edm-cond")
    write(tmp_path / "none.pkl", "edm-vp")
    write(tmp_path / "both.pkl", "edm-cond", label_dropout=0.1)
    x, labels = torch.randn(2, 1, 8, 8), torch.tensor([0, 1])
    cond, none, both = (load_teacher(f"edm:{tmp_path / name}.pkl") for name in ("cond", "none", "both"))
    with pytest.raises(UserError, match="cond needs a class for each image"):
        cond(x, 1.0)
    with pytest.raises(UserError, match="none has no classes; call it without labels"):
        none(x, 1.0, labels)
    assert (cond.unconditional, none.unconditional, both.unconditional) == (False, True, True)
    assert torch.equal(both(x, 1.0), both(x, 1.0, torch.tensor([-1, -1])))
    assert not torch.equal(both(x, 1.0), both(x, 1.0, labels))


def test_latents_are_not_decoded(tmp_path):
    vae = pickled.Persistent("StabilityVAEEncoder", {"vae_name": "stabilityai/sd-vae-ft-mse", "_vae": None})
    write(tmp_path / "net.pkl", "edm2", vae)
    write(tmp_path / "rgb.pkl", "edm2", pickled.Persistent("StandardRGBEncoder", {}))
    for spec in (f"edm:{tmp_path / 'net.pkl'}", convert(f"edm:{tmp_path / 'net.pkl'}", tmp_path / "c.json")):
        with pytest.raises(
            UserError, match=r"latents of the VAE stabilityai/sd-vae-ft-mse, which its file does not hold.*--metrics none"
        ):
            load_teacher(spec).decode(torch.zeros(1, 1, 8, 8))
        assert load_teacher(spec).image_shape is None
    x = torch.zeros(1, 1, 8, 8)
    assert load_teacher(f"edm:{tmp_path / 'rgb.pkl'}").decode(x) is x


def spoil(kind="edm-vp", **parts):
    """A pickle of which something is not as it should be: keys of the file, of `ema`'s state or of the network's arguments."""

    def content():
        make, arguments, outer, state = KINDS[kind]
        network, name = make()
        pickled.shaken(network)
        given = {k: v for k, v in (ARGUMENTS | arguments | parts.get("arguments", {})).items() if v is not None}
        parts.get("change", lambda n: None)(network)
        ema = pickled.wrapped(
            network, parts.get("name", name), parts.get("outer", outer), given, **state | parts.get("state", {})
        )
        return {"ema": ema} | parts.get("file", {})

    return content


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (dict, "holds no network 'ema'"),
        (lambda: [1], "holds no network 'ema'"),
        (spoil(file={"ema": 3}), "holds no network 'ema'"),
        (spoil(file={"ema": pickled.Persistent("EDMPrecond", {})}), "unknown network inside EDMPrecond 'no network'"),
        (spoil(outer="CTPrecond"), "unknown preconditioning 'CTPrecond'.*EDMPrecond"),
        (spoil(name="DiT"), "unknown network inside EDMPrecond 'DiT'"),
        (spoil(outer="Precond"), "unknown network inside Precond"),
        (spoil(arguments={"patch_size": 2}), "SongUNet: unknown argument 'patch_size'"),
        (spoil(arguments={"model_channels": "8"}), "SongUNet: width must be a whole number, not '8'"),
        (spoil(arguments={"model_channels": 12}), r"weights are of another network|is \[.*\], the network needs"),
        (spoil(arguments={"channel_mult": [1, 2, 2, 2, 2]}), "image_size: 8 has no 5 levels"),
        (spoil(arguments={"encoder_type": "skip"}), "encoder and decoder .'skip', 'standard'. are not known"),
        (spoil(arguments={"num_blocks": 2}), "weights are of another network"),
        (spoil(arguments={"out_channels": 2}), "EDMPrecond with 2 channels of 1 is not known"),
        (spoil(arguments={"out_channels": 3}), "outputs must be channels"),
        (spoil(state={"sigma_data": "half"}), "sigma_data is 'half', no number"),
        (spoil(state={"sigma_min": 90}), "sigma_max must be above sigma_min"),
        (spoil("vp", state={"M": None}), "VPPrecond: M is None, no number"),
        (spoil("iddpm", state={"C_1": 0.1}), "its noise levels u are not those"),
        (spoil("iddpm", state={"_buffers": {}}), "its noise levels u are not those"),
        (spoil(change=lambda n: n.map_layer0.weight.fill_(math.nan)), "NaN or infinite numbers in 'map_layer0.weight'"),
        (
            spoil(state={"_init_kwargs": 3, "_modules": {"model": pickled.Persistent("SongUNet", {"_init_kwargs": 3})}}),
            "arguments are not",
        ),
    ],
)
def test_what_is_no_network_of_edm_s(tmp_path, content, told):
    path = pickled.dump(tmp_path / "net.pkl", content())
    for run in (lambda: load_teacher(f"edm:{path}"), lambda: convert(f"edm:{path}", tmp_path / "c.json")):
        with pytest.raises(UserError, match=told) as e:
            run()
        assert "\n" not in str(e.value)
        assert len(str(e.value)) < 1000
    assert [p.name for p in tmp_path.iterdir()] == ["net.pkl"]


def test_buffers_that_are_not_kept_are_no_weights(tmp_path):
    network = song()[0]
    pickled.shaken(network)
    ema = pickled.wrapped(network, "SongUNet", "EDMPrecond", ARGUMENTS | DDPM_PP, sigma_data=0.5)
    inner = ema.state["_modules"]["model"].state
    inner["_buffers"]["cache"], inner["_non_persistent_buffers_set"] = torch.zeros(2), {"cache"}
    inner["_buffers"]["none"] = None
    path = pickled.dump(tmp_path / "net.pkl", {"ema": ema})
    assert load_teacher(f"edm:{path}").network.state_dict().keys() == network.state_dict().keys()
    assert isinstance(load_teacher(f"edm:{path}").networks()[0], nn.Module)
