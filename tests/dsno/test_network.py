"""DSNO's network: the published sizes and times, the teacher inside it, mixing in time, and nothing else mixed."""

import pytest
import torch
from changed import changed
from tiny import SIZES, mixing, randomised, relative, teacher_of

from dsno.network import DSNO, DSNOConfig, from_teacher, logsnr_at
from dsno.temporal import FORMS
from dsno.times import loss_weights, time_points
from samplers import Cosine, UserError
from samplers.models.sizes import UNetConfig
from samplers.models.unet import UNet, parameter_count

IMAGENET = UNetConfig(
    image_size=64, width=192, multipliers=(1, 2, 3, 4), attention=(32, 16, 8), heads=0, embedding=768, classes=1000
)
SCHEDULE = Cosine(0.01, 20.0)
LABELS = torch.tensor([2, -1, 0])


def noise(batch: int = 3, channels: int = 1) -> torch.Tensor:
    return torch.randn(batch, channels, 8, 8, generator=torch.Generator().manual_seed(3))


def logsnr_of(config: DSNOConfig, batch: int = 3) -> torch.Tensor:
    return logsnr_at(SCHEDULE, config.times()).expand(batch, -1)


def network_of(config: DSNOConfig, form: str = "split", backbone: UNetConfig = SIZES) -> DSNO:
    return mixing(randomised(DSNO(backbone, config, form)))


@pytest.mark.parametrize(
    ("backbone", "config", "alone", "whole", "layers"),
    [
        (UNetConfig(), DSNOConfig(), 60_004_099, 65_771_267, 22),
        (IMAGENET, DSNOConfig(grid="uniform"), 295_900_035, 329_225_091, 29),
    ],
    ids=["cifar10", "imagenet64"],
)
def test_published_parameter_counts(backbone, config, alone, whole, layers):
    with torch.device("meta"):
        network = DSNO(backbone, config)
        assert parameter_count(UNet(backbone)) == alone
    assert parameter_count(network) == whole
    assert len(network.temporal) == layers


@pytest.mark.parametrize(
    ("grid", "times", "logsnr", "weights"),
    [
        ("quadratic", [0.5625, 0.25, 0.0625, 0], [-0.40, 1.76, 4.63, 20], [1, 2.41, 10.15, 10000]),
        ("uniform", [0.75, 0.5, 0.25, 0], [-1.76, 0, 1.76, 20], [1, 1, 2.41, 10000]),
    ],
)
def test_published_times_and_weights(grid, times, logsnr, weights):
    schedule = Cosine()
    assert DSNOConfig(grid=grid).times() == time_points(grid, 4) == times
    found = logsnr_at(schedule, times)
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx(logsnr, abs=0.005)
    assert loss_weights(schedule, times) == pytest.approx(weights, abs=0.005)
    assert loss_weights(schedule, times, "flat") == [1, 1, 1, 1]


def test_unknown_words_and_no_points():
    with pytest.raises(UserError, match="unknown time grid 'quadratik'; did you mean 'quadratic'"):
        time_points("quadratik", 4)
    with pytest.raises(UserError, match="unknown weights 'srn'; did you mean 'snr'"):
        loss_weights(SCHEDULE, [0.5, 0.0], "srn")
    with pytest.raises(UserError, match="at least 1 point, got 0"):
        time_points("uniform", 0)


def teacher_at_each_time(teacher, z: torch.Tensor, logsnr: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
    return torch.stack([teacher.network(z, logsnr[:, i], labels) for i in range(logsnr.shape[1])], dim=1)


@pytest.mark.parametrize("labels", [None, LABELS], ids=["unlabelled", "labelled"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_without_temporal_weights_it_is_the_teacher_at_every_time(channels, patch, form, labels):
    teacher = teacher_of(changed(SIZES, channels=channels, patch=patch, attention=(4 // patch,)))
    config = DSNOConfig(points=3, grid="uniform")
    network, z, logsnr = from_teacher(teacher, config, form).eval(), noise(channels=channels), logsnr_of(config)
    for layer in network.temporal:
        torch.nn.init.zeros_(layer.weight)
    out = network(z, logsnr, labels)
    expected = teacher_at_each_time(teacher, z, logsnr, labels)
    assert out.shape == (3, 3, channels, 8, 8)
    assert relative(out, expected) < 5e-6
    assert relative(expected[:, 0], expected[:, 1]) > 0.01  # the times differ, so their order is seen
    if labels is None:
        assert torch.equal(network(z, logsnr, torch.full((3,), -1)), out)


def test_fresh_student_is_nearly_the_teacher():
    teacher, config = teacher_of(changed(SIZES, width=32)), DSNOConfig()
    torch.manual_seed(0)
    network, z, logsnr = from_teacher(teacher, config).eval(), noise(), logsnr_of(config)
    expected = teacher_at_each_time(teacher, z, logsnr, LABELS)
    error = (network(z, logsnr, LABELS) - expected).norm() / expected.norm()
    assert 1e-4 < error < 0.03


def test_student_leaves_the_teacher_alone():
    teacher = teacher_of()
    before = {k: v.clone() for k, v in teacher.network.state_dict().items()}
    network = from_teacher(teacher, DSNOConfig())
    assert all(p.requires_grad for p in network.parameters())
    assert not any(p.requires_grad for p in teacher.parameters())
    with torch.no_grad():
        for p in network.parameters():
            p.add_(1.0)
    assert all(torch.equal(v, before[k]) for k, v in teacher.network.state_dict().items())


@pytest.mark.parametrize("parameterisation", ["x", "v"])
def test_a_student_starts_at_the_teacher_s_image_of_the_highest_level(parameterisation):
    """But for the share of the noise that the teacher lets pass by its network."""
    teacher, z = teacher_of(parameterisation=parameterisation), noise()
    high = torch.tensor(teacher.sigma_max)
    network = from_teacher(teacher, DSNOConfig(points=1, modes=0)).eval()
    found = network(teacher.scaling.enter(high * z, high), (-2 * high.log()).expand(len(z), 1), LABELS)[:, 0]
    image = teacher(high * z, high, LABELS) - teacher.scaling.c_skip(high) * high * z
    assert (found - image).norm() < 1e-6 * image.norm()


def test_a_teacher_whose_image_is_mostly_the_noise():
    with pytest.raises(UserError, match="predicts 'eps': its image at the highest noise level is the noise by 20 and") as e:
        from_teacher(teacher_of(parameterisation="eps"), DSNOConfig())
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("config", [DSNOConfig(), DSNOConfig(points=3, modes=0), DSNOConfig(points=1, modes=1)])
def test_image_only_is_the_last_point(config, form, fold):
    network, z, logsnr = network_of(config, form), noise(), logsnr_of(config)
    if fold:
        network.fold()
    image = network(z, logsnr, LABELS, image_only=True)
    assert image.shape == (3, 1, 1, 8, 8)
    path = network(z, logsnr, LABELS)
    assert path.shape == (3, config.points, 1, 8, 8)
    assert relative(image[:, 0], path[:, -1]) < 1e-5


@pytest.mark.parametrize("form", FORMS)
def test_an_image_does_not_depend_on_its_batch(form):
    config = DSNOConfig()
    network, z, labels = network_of(config, form), noise(7), torch.tensor([2, -1, 0, 1, 1, 0, 2])
    alone = torch.cat([network(z[i : i + 1], logsnr_of(config, 1), labels[i : i + 1]) for i in range(7)])
    for batch in (3, 7):
        together = network(z[:batch], logsnr_of(config, batch), labels[:batch])
        assert relative(together, alone[:batch]) < 1e-5


@pytest.mark.parametrize("modes", [0, 1, 2, 3])
def test_temporal_layers_mix_the_times(modes):
    config = DSNOConfig(modes=modes)
    network, z, logsnr = network_of(config), noise(), logsnr_of(config).clone()
    before = network(z, logsnr)
    logsnr[:, 0] += 2.0
    after = network(z, logsnr)
    assert relative(after[:, 0], before[:, 0]) > 1e-3
    if modes:
        assert all(relative(after[:, i], before[:, i]) > 1e-3 for i in (1, 2, 3))
    else:
        assert torch.equal(after[:, 1:], before[:, 1:])


def test_temporal_layers_stand_after_stages_alone():
    """Two down, one in the middle, four up, each as wide as its stage."""
    assert [layer.channels for layer in network_of(DSNOConfig()).temporal] == [8, 16, 16, 16, 16, 8, 8]
    assert len(network_of(DSNOConfig(modes=0)).temporal) == 0


@pytest.mark.parametrize("form", FORMS)
def test_memory_format_does_not_matter(form):
    config = DSNOConfig()
    backbone = changed(SIZES, channels=3)
    network, z, logsnr = network_of(config, form, backbone), noise(channels=3), logsnr_of(config)
    plain = network(z, logsnr, LABELS)
    assert relative(network(z.contiguous(memory_format=torch.channels_last), logsnr, LABELS), plain) < 1e-5
    network.to(memory_format=torch.channels_last)
    assert relative(network(z.contiguous(memory_format=torch.channels_last), logsnr, LABELS), plain) < 1e-5


def test_compiled_whole_gives_equal_images():
    config = DSNOConfig()
    backbone = changed(SIZES, multipliers=(1,), attention=())
    network, z, logsnr = network_of(config, backbone=backbone).fold(), noise(), logsnr_of(config)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        assert relative(compiled(z, logsnr, LABELS, image_only=True), network(z, logsnr, LABELS)[:, -1:]) < 1e-5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("form", FORMS)
def test_cuda_graph_gives_equal_images(form):
    config = DSNOConfig()
    network = network_of(config, form).cuda().fold()
    z, logsnr, labels = noise().cuda(), logsnr_of(config).cuda(), LABELS.cuda()
    with torch.no_grad():
        expected = network(z.flip(0), logsnr, labels)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                network(z, logsnr, labels)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = network(z, logsnr, labels)
        z.copy_(z.flip(0))
        graph.replay()
    assert relative(out, expected) < 1e-4


def test_dropout_is_the_student_s_own():
    """Whatever the teacher trained with, a student trains with none unless so asked; its images are the same."""
    teacher = teacher_of(changed(SIZES, dropout=0.5))
    plain, dropping = from_teacher(teacher, DSNOConfig()), from_teacher(teacher, DSNOConfig(), dropout=0.25)
    assert [{m.p for m in n.modules() if isinstance(m, torch.nn.Dropout)} for n in (plain, dropping)] == [{0.0}, {0.25}]
    assert (plain.config.dropout, dropping.config.dropout) == (0.0, 0.25)
