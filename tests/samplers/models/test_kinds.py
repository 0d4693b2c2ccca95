"""Teachers of other kinds: a user's own function, a stranger's loader, and how a KIND is named."""

import pytest
import torch
from exact import Gaussian

import samplers
from samplers import Teacher, UserError, load_teacher
from samplers.models.unet_teacher import UNetTeacher, load_unet_teacher
from samplers.registry import entries

OWN = """
import torch
from torch import nn
from exact import Gaussian
from samplers import Cosine, Teacher

def analytic():
    return Gaussian(0.01, 20.0)

class Network(nn.Module):
    sigma_min, sigma_max, shape, num_classes, name, sha256, data = 0.01, 20.0, (1, 2, 2), 3, "mine", "ab" * 32, "cd" * 32

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x, sigma, labels=None):
        return self.weight * x

class Guided(Network):
    def networks(self):
        return [self.inner]

    def __init__(self):
        super().__init__()
        self.inner = nn.Identity()

class Latent(Teacher):
    def __init__(self):
        super().__init__("latent", (4, 1, 1), 0, Cosine(0.01, 20.0))

    def forward(self, x, sigma, labels=None):
        return x

    def networks(self):
        return []

    def decode(self, x):
        return x.repeat(1, 1, 8, 8)[:, :3]

def wrong_shape():
    found = Gaussian()
    found.shape = (1, 8)
    return found

def wrong_range():
    return Gaussian(3.0, 2.0)

def early_end():
    found = Gaussian(0.01, 20.0)
    found.sigma_end = 0.001
    return found

def fails():
    raise ValueError("no\\nluck")

def leaves():
    raise SystemExit(3)

ready = Gaussian(0.01, 20.0)
nothing = lambda: None
number = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module in the current folder, which is not on the path."""
    (tmp_path / "own_teachers.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    monkeypatch.delitem(__import__("sys").modules, "own_teachers", raising=False)


@pytest.mark.usefixtures("own")
def test_any_denoiser_is_a_teacher():
    """An analytic one too, without modules or hash; it samples as the denoiser itself does."""
    teacher = load_teacher("python:own_teachers:analytic")
    assert isinstance(teacher, Teacher)
    assert isinstance(teacher, samplers.Denoiser)
    assert (teacher.name, teacher.sha256, teacher.shape) == ("own_teachers:analytic", None, (6, 1, 1))
    assert (teacher.networks(), list(teacher.parameters()), teacher.describe().parameters) == ([], [], 0)
    z = torch.randn(3, 6, 1, 1, dtype=torch.float64)
    expected = samplers.get("dpmpp_2m").sample(Gaussian(0.01, 20.0), z, steps=5)
    assert torch.equal(samplers.get("dpmpp_2m").sample(teacher, z, steps=5), expected)
    assert torch.equal(teacher.decode(z), z)


@pytest.mark.usefixtures("own")
def test_an_object_of_the_module_s():
    ready, made = (load_teacher(f"python:own_teachers:{name}") for name in ("ready", "analytic"))
    z = torch.randn(2, *made.shape, dtype=torch.float64)
    assert torch.equal(ready(z, 2.0), made(z, 2.0))


@pytest.mark.usefixtures("own")
def test_what_a_denoiser_tells_is_kept():
    teacher = load_teacher("python:own_teachers:Network")
    assert (teacher.name, teacher.sha256, teacher.data) == ("mine", "ab" * 32, "cd" * 32)
    assert teacher.networks() == [teacher.denoiser]
    assert not any(p.requires_grad for p in teacher.parameters())
    assert not teacher.denoiser.training
    assert teacher.describe() == ("1x2x2", 3, "x0", 1, "")
    guided = load_teacher("python:own_teachers:Guided")
    assert guided.networks() == [guided.denoiser.inner]
    latent = load_teacher("python:own_teachers:Latent")
    assert (latent.name, latent.decode(torch.zeros(2, 4, 1, 1)).shape) == ("latent", (2, 3, 8, 8))


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("python:own_teachers", "names no function; write python:MODULE:FUNCTION"),
        ("python::", "names no function"),
        ("python:own_teachers:gone", "makes no teacher .*gone"),
        ("python:no_such_module:x", "makes no teacher .*No module named 'no_such_module'"),
        ("python:own_teachers:fails", "makes no teacher .ValueError: no luck"),
        ("python:own_teachers:leaves", "makes no teacher .SystemExit: 3"),
        ("python:own_teachers:number", "makes no teacher"),
        ("python:own_teachers:nothing", "returned a NoneType, no denoiser: it needs __call__"),
        ("python:own_teachers:wrong_shape", r"shape must be \(C, H, W\)"),
        ("python:own_teachers:wrong_range", "sigma_min and sigma_max must be numbers, the second the larger"),
        ("python:own_teachers:early_end", "sigma_end must be a number from sigma_min to below sigma_max"),
        ("pyhton:own_teachers:analytic", "unknown teacher 'pyhton'; did you mean 'python'. .known: .*python.*zoo"),
        ("zoo:mnits32", "unknown teacher 'mnits32'; did you mean 'mnist32'"),
    ],
)
def test_what_is_no_teacher_is_one_line(spec, told):
    with pytest.raises(UserError, match=told) as e:
        load_teacher(spec)
    assert "\n" not in str(e.value)


def test_a_plain_name_is_the_zoo_s():
    teacher, same = load_teacher("mnist32"), load_teacher("zoo:mnist32")
    assert isinstance(teacher, UNetTeacher)
    assert teacher.sha256 == same.sha256
    assert teacher.describe() == ("1x32x32", 10, "v", 1229524, "98 min, AMD EPYC, 1 threads")


@pytest.mark.usefixtures("own")
def test_a_training_needs_a_network_to_start_from():
    with pytest.raises(UserError, match="a student starts from the network of a teacher that 'bench train teacher' made"):
        load_unet_teacher("python:own_teachers:analytic")


@pytest.mark.usefixtures("own")
def test_a_stranger_s_kind_is_one_file_and_one_line(tmp_path, monkeypatch):
    (tmp_path / "strange.py").write_text(
        "def load(rest, device):\n    import own_teachers\n    return own_teachers.Latent() if rest == 'latent' else rest\n"
    )
    info = tmp_path / "strange-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[bench.teachers]\nstrange = strange:load\n")
    monkeypatch.syspath_prepend(tmp_path)
    entries.cache_clear()
    try:
        assert load_teacher("strange:latent").name == "latent"
        with pytest.raises(UserError, match=r"its loader returned a str, not a samplers\.Teacher"):
            load_teacher("strange:a:b")
    finally:
        monkeypatch.undo()
        entries.cache_clear()
