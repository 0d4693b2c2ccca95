"""A stranger's extractor and metric: one file and an entry-point line each; what is wrong with one is told in one line."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console

from bench.commands.listing import listed, overview
from bench.presentation import terminal
from bench.quality.extractor import features_of, load_extractor
from bench.quality.metrics import check_metrics, check_needs, metric_names, score
from bench.quality.moments import Moments
from bench.quality.pictures import Pictures
from bench.quality.reference import Reference, find_reference, make_reference
from bench.quality.sample import Sample
from samplers.errors import UserError
from samplers.training.data import ImageSet

ENTRIES = """[bench.extractors]
means = stranger_package:load
[bench.metrics]
gap = stranger_package:Gap
"""
SOURCE = '''
from bench.quality.extractor import Extractor, Features
from bench.quality.metrics import Score


class Means(Extractor):
    sha256 = "0" * 64
    shape = (1, None, None)

    def __init__(self, name):
        self.name = name

    def __call__(self, images):
        return Features(images.float().flatten(1)[:, :2])


def load(rest):
    """Grey of two pixels."""
    if rest == "secret":
        raise OSError("two\\nlines " * 100)
    return Means(rest)


class Gap:
    name = "gap"
    outputs = ("gap", "spread")
    better = "lower"
    description = "difference of the means"
    needs = frozenset({"features", "reference moments"})

    def check(self, images):
        pass

    def score(self, sample, reference, seed):
        gap = sample.features.double().numpy() - reference.moments.mean
        n = len(gap)
        return {
            "gap": Score(float(abs(gap.mean())), None, None, n, gap.mean(axis=1)),
            "spread": Score(float(gap.std()), None, None, n),
        }
'''


def images(n: int, seed: int, channels: int = 1, size: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, size, size), dtype=torch.uint8, generator=generator)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageSet:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return ImageSet(images(40, 0), torch.zeros(40, dtype=torch.int64), "d" * 64)


def test_a_metric_and_an_extractor_are_one_file_and_a_line_each(install, data, capsys):
    install(ENTRIES, SOURCE)
    extractor = load_extractor("means:grey")
    assert (extractor.name, extractor.classes, extractor.reference_file) == ("grey", None, None)
    seen = features_of(extractor, images(20, 1))
    reference = make_reference(extractor, Pictures.of(data, "train"), "train")
    metrics = ("gap", "fd", "kid")
    check_metrics(metrics, 20)
    check_needs(metrics, extractor, reference, False)
    quality, influences = score(Sample.of(*seen), extractor, reference, metrics, 0)
    assert list(quality) == ["gap_grey", "spread_grey", "fd_grey", "kid_grey"]
    assert quality["gap_grey"] == {
        "value": pytest.approx(abs(float(seen.features.double().mean()) - reference.moments.mean.mean()), rel=1e-6),
        "ci_low": None,
        "ci_high": None,
        "n": 20,
        "extractor_sha256": "0" * 64,
        "reference_sha256": reference.sha256,
        "resize": "none",
        "rounding": "nearest",
        "dimensions": 2,
        "reference_name": "train",
        "reference_n": 40,
    }
    assert list(influences) == ["gap", "fd"]
    assert metric_names() == ["clip", "fd", "fdinf", "fid", "fidinf", "gap", "isc", "kid", "prc"]
    terminal.show(overview(listed()), Console(width=300))
    out = capsys.readouterr().out
    assert "kinds of extractor" in out
    assert "Grey of two pixels." in out
    assert "difference of the means; lower is better" in out
    assert "gap_mnist, spread_mnist" in out
    assert "fid_mnist" not in out


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        (("isc",), "isc needs logits, which extractor 'grey' does not give"),
        (("fd",), "fd needs reference moments, which extractor 'grey' comes without"),
        (("kid",), "kid needs reference features, which extractor 'grey' comes without"),
    ],
)
def test_what_a_metric_needs_and_is_not_there_is_told(install, metrics, told):
    install(ENTRIES, SOURCE)
    extractor = load_extractor("means:grey")
    with pytest.raises(UserError, match=told):
        score(Sample.of(torch.zeros(10, 2)), extractor, find_reference(extractor), metrics, 0)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("def load", "raise RuntimeError('no driver')\ndef load", "extractor 'means' of stranger-package cannot be imported"),
        ("def load", "def lod", "extractor 'means' of stranger-package cannot be imported"),
        ("return Means(rest)", "return None", "what its loader gives is none"),
        ("return Means(rest)", "return Means('a b')", "what its loader gives is none"),
        ("return Means(rest)", "return Means('a.b')", "what its loader gives is none"),
        ("return Means(rest)", "return Means('x' * 10**7)", "what its loader gives is none"),
        ("return Means(rest)", "return Means(7)", "what its loader gives is none"),
        ("return Means(rest)", "return 1 / 0", "cannot be loaded .ZeroDivisionError: division by zero"),
        ('sha256 = "0" * 64', "sha256 = None", "what its loader gives is none"),
        ('    sha256 = "0" * 64\n', "", "cannot be loaded .*no attribute 'sha256'"),
        ("shape = (1, None, None)", "shape = 3", "cannot be loaded"),
        ("shape = (1, None, None)", "shape = (1, 'x', 2)", "what its loader gives is none"),
    ],
)
def test_a_loader_that_fails_is_one_line_and_hurts_no_other(install, old, new, told, capsys):
    install(ENTRIES, SOURCE.replace(old, new))
    with pytest.raises(UserError, match=told) as e:
        load_extractor("means:grey")
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 400
    assert load_extractor("mnist").name == "mnist"
    terminal.show(overview(listed()), Console(width=300))  # "bench list" tells the others
    assert "fd_mnist" in capsys.readouterr().out


def test_what_a_loader_raises_is_one_line(install):
    install(ENTRIES, SOURCE)
    with pytest.raises(UserError, match=r"extractor 'means:secret' cannot be loaded .OSError: two lines two") as e:
        load_extractor("means:secret")
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 400
    with pytest.raises(UserError, match="unknown extractor 'menas'; did you mean 'means'"):
        load_extractor("menas:x")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "class Gap:",
            "import no_such_module\nclass Gap:",
            "'gap' of stranger-package cannot be imported .*no_such_module",
        ),
        ('name = "gap"', 'name = "gaap"', "'gap' is no metric"),
        ('outputs = ("gap", "spread")', "outputs = ()", "'gap' is no metric"),
        ('outputs = ("gap", "spread")', 'outputs = ("gap", "spread_of")', "'gap' is no metric"),
        ('outputs = ("gap", "spread")', 'outputs = "gap"', "'gap' is no metric"),
        ('better = "lower"', 'better = "smaller"', "'gap' is no metric"),
        ('"reference moments"', '"moments"', "'gap' is no metric"),
        ("    def check(self, images):\n        pass\n", "", "'gap' is no metric"),
        ("    def check(self", "    def __init__(self, x):\n        pass\n\n    def check(self", "metric 'gap' cannot be made"),
        ('outputs = ("gap", "spread")', 'outputs = ("fd", "spread")', "metrics fd and gap both give 'fd'"),
    ],
)
def test_a_metric_that_is_none_is_one_line_and_hurts_no_other(install, old, new, told, capsys):
    install(ENTRIES, SOURCE.replace(old, new))
    with pytest.raises(UserError, match=told) as e:
        check_metrics(("fd", "gap"), 100)
    assert "\n" not in str(e.value)
    check_metrics(("fd",), 100)
    terminal.show(overview(listed()), Console(width=300))
    assert "fd_mnist" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new"),
    [('"spread": Score', '"other": Score'), ("float(gap.std())", "float('nan')"), ("float(gap.std())", "float('inf')")],
)
def test_a_metric_that_breaks_its_promise_writes_no_score(install, data, old, new):
    install(ENTRIES, SOURCE.replace(old, new))
    extractor = load_extractor("means:grey")
    seen = features_of(extractor, images(20, 1))
    with pytest.raises(ValueError, match="metric 'gap' promises finite gap, spread"):
        score(Sample.of(*seen), extractor, make_reference(extractor, Pictures.of(data, "train"), "train"), ["gap"], 0)


@pytest.mark.parametrize(
    ("gives", "told"),
    [
        ("Features(images.float().mean(dim=(1, 2, 3)))", "gives no features"),
        ("Features(images.flatten(1))", "gives no features"),
        ("images[:2].float()", "gives no features"),
        ("None", "gives no features"),
        ("Features(images.flatten(1).tolist())", "gives no features"),
        ("Features(images.flatten(1)[:1].float())", "gives no features"),
        ("Features(images.flatten(1).float() * float('nan'))", "features or logits that are not finite"),
        ("Features(images.flatten(1).float(), images.flatten(1).float())", "does not give the logits of no classes it has"),
    ],
)
def test_features_that_are_none_are_refused(install, gives, told):
    install(ENTRIES, SOURCE.replace("Features(images.float().flatten(1)[:, :2])", gives))
    with pytest.raises(UserError, match=told):
        features_of(load_extractor("means:grey"), images(20, 1))


@pytest.mark.parametrize("wrong", [images(2, 0, channels=3), images(2, 0).float(), images(2, 0)[0]])
def test_images_of_another_kind_are_refused(install, wrong):
    install(ENTRIES, SOURCE)
    with pytest.raises(UserError, match=r"extractor 'grey' needs uint8 images \[B, 1, any, any\], not"):
        features_of(load_extractor("means:grey"), wrong)


# ---------------------------------------------------------------- references that are made


def test_a_reference_is_made_once_and_found_by_its_content(install, data, tmp_path, monkeypatch):
    install(ENTRIES, SOURCE)
    monkeypatch.setattr("bench.quality.reference.KEPT", 30)
    extractor = load_extractor("means:grey")
    made = make_reference(extractor, Pictures.of(data, "train"), "train")
    features = features_of(extractor, data.images).features
    assert made.moments.n == 40
    torch.testing.assert_close(torch.from_numpy(made.moments.mean), features.double().mean(0))
    assert made.features.shape == (30, 2)
    rows = [features.tolist().index(row) for row in made.features.tolist()]
    assert len(set(rows)) == 30
    assert rows != sorted(rows)  # a random sample in random order
    monkeypatch.setattr(type(extractor), "__call__", None)  # found, not made again
    again = make_reference(extractor, Pictures.of(data, "train"), "train")
    assert (again.key, again.sha256) == (made.key, made.sha256)
    torch.testing.assert_close(again.features, made.features)
    assert (again.moments.mean == made.moments.mean).all()


def test_an_extractor_may_name_the_images_of_its_reference(install, data, tmp_path):
    install(ENTRIES, SOURCE)
    extractor = load_extractor("means:grey")
    folder = tmp_path / "real"
    folder.mkdir()
    for i, image in enumerate(data.images):
        Image.fromarray(image[0].numpy()).save(folder / f"{i}.png")
    (folder / "dataset.json").write_text(json.dumps({"labels": [[f"{i}.png", 0] for i in range(len(data.images))]}))
    extractor.reference_images = (str(folder),)
    found = find_reference(extractor)
    assert (found.moments.n, found.key.split, found.key.extractor) == (40, "real", extractor.sha256)
    assert (found.moments.mean == make_reference(extractor, Pictures.of(data, "train"), "train").moments.mean).all()
    check_needs(("fd", "kid"), extractor, found, False)
    extractor.reference_images = (str(tmp_path / "none"),)
    with pytest.raises(UserError, match="no data at"):
        find_reference(extractor)


def test_another_key_is_another_reference(install, data):
    install(ENTRIES, SOURCE)
    extractor = load_extractor("means:grey")
    first = make_reference(extractor, Pictures.of(data, "train"), "train")
    others = [make_reference(extractor, Pictures.of(data, "test"), "test")]
    others.append(make_reference(extractor, Pictures.of(ImageSet(data.images, data.labels, "e" * 64), "train"), "train"))
    others.append(
        make_reference(extractor, Pictures.of(ImageSet(data.images[:30], data.labels[:30], data.sha256), "train"), "train")
    )
    extractor.resize = "bilinear"
    others.append(make_reference(extractor, Pictures.of(data, "train"), "train"))
    extractor.sha256 = "1" * 64
    others.append(make_reference(extractor, Pictures.of(data, "train"), "train"))
    assert len({first.sha256, *(o.sha256 for o in others)}) == 6
    with pytest.raises(UserError, match="the reference is of another extractor than 'grey'"):
        check_needs(("fd",), extractor, first, True)


@pytest.mark.parametrize("damage", [lambda p: p.write_bytes(b"x"), lambda p: p.write_bytes(p.read_bytes()[:-9])])
def test_a_damaged_cache_is_made_again(install, data, tmp_path, damage):
    install(ENTRIES, SOURCE)
    extractor = load_extractor("means:grey")
    made = make_reference(extractor, Pictures.of(data, "train"), "train")
    (file,) = (tmp_path / "cache").iterdir()
    whole = file.read_bytes()
    damage(file)
    assert (make_reference(extractor, Pictures.of(data, "train"), "train").moments.cov == made.moments.cov).all()
    assert file.read_bytes() == whole


def test_too_few_images_for_a_reference(install, data):
    install(ENTRIES, SOURCE)
    with pytest.raises(UserError, match="a reference needs at least 2 images, train has 1"):
        make_reference(
            load_extractor("means:grey"), Pictures.of(ImageSet(data.images[:1], data.labels[:1], "f" * 64), "train"), "train"
        )


def test_features_and_reference_of_different_dimension():
    reference = Reference(Moments.of(torch.randn(50, 7)))
    with pytest.raises(UserError, match="the features have dimension 64, the reference's 7"):
        score(Sample.of(torch.zeros(20, 64)), load_extractor("mnist"), reference, ["fd"], 0)
