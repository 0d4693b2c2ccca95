import io
import pickle
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from bench.quality.extractor import Extractor, Features
from bench.quality.frechet import frechet_distance
from bench.quality.metrics import check_needs
from bench.quality.moments import Moments
from bench.quality.reference import find_reference
from samplers.errors import UserError

D, N = 6, 50


class Plain(Extractor):
    """The first pixels of an image."""

    name, sha256, shape, dimensions = "inception", "1" * 64, (3, None, None), D
    gives_fid = True

    def __call__(self, images):
        return Features(images.flatten(1)[:, :D].float())


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(N, D, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def stats(features) -> dict[str, np.ndarray]:
    rows = features.numpy().astype(np.float64)
    return {"mu": rows.mean(0), "sigma": np.cov(rows, rowvar=False)}


def easy_dict(**values):
    """As EDM2 pickles one: of a module that the reader does not have."""
    module = ModuleType("dnnlib.util")
    module.EasyDict = type("EasyDict", (dict,), {"__module__": "dnnlib.util"})
    sys.modules |= {"dnnlib": ModuleType("dnnlib"), "dnnlib.util": module}
    try:
        return pickle.dumps(module.EasyDict(values))
    finally:
        del sys.modules["dnnlib"], sys.modules["dnnlib.util"]


def test_every_file_gives_the_same_reference(features, stats, tmp_path):
    other = {"mu": np.zeros(3), "sigma": np.eye(3)}
    edm2 = {"num_images": N, "fid": stats, "fd_dinov2": other}
    files = {
        "edm.npz": stats,
        "adm.npz": stats | {"mu_s": np.zeros(9), "sigma_s": np.eye(9)},
        "edm2.pkl": pickle.dumps(edm2),
        "easy.pkl": easy_dict(**edm2),
        "plain.pkl": pickle.dumps(stats),
        "cifar10-inception-v3-compat-stat-fid-2048.pt": {"mu": stats["mu"].astype(np.float32), "sigma": stats["sigma"]},
        "cifar10-inception-v3-compat-features-2048.pt": features,
        "cifar10_legacy_tensorflow_train_32.npz": stats,
    }
    sample = Moments.of(torch.randn(40, D, generator=torch.Generator().manual_seed(1)))
    expected = {"mean": torch.from_numpy(stats["mu"]), "cov": torch.from_numpy(stats["sigma"]), "n": torch.tensor(N)}
    distances = []
    for name, content in files.items():
        path = tmp_path / name
        if path.suffix == ".npz":
            np.savez(path, **content)
        elif path.suffix == ".pt":
            torch.save(content, path)
        else:
            path.write_bytes(content)
        found = find_reference(Plain(), given=str(path))
        torch.testing.assert_close(torch.from_numpy(found.moments.mean), expected["mean"], rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(torch.from_numpy(found.moments.cov), expected["cov"], rtol=1e-6, atol=1e-7)
        assert (found.name, found.images) == (name, N if "edm2" in name or "easy" in name or "features" in name else None)
        assert len(found.features) == (N if "features" in name else 0)
        check_needs(["fid"], Plain(), found, False)
        distances.append(frechet_distance(sample, found))
    assert distances == pytest.approx([distances[0]] * len(files), rel=1e-5)
    with pytest.raises(UserError, match=r"kid needs reference features, which edm.npz does not hold; name images"):
        check_needs(["kid"], Plain(), find_reference(Plain(), given=str(tmp_path / "edm.npz")), False)


def test_images_beside_statistics_give_the_features(stats, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    pixels = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), dtype=np.uint8)
    np.savez(tmp_path / "adm.npz", arr_0=pixels, **stats)
    found = find_reference(Plain(), given=str(tmp_path / "adm.npz"))
    assert (found.moments.mean == stats["mu"]).all()
    assert sorted(found.features[:, 0].tolist()) == sorted(pixels[:, 0, 0, 0].astype(float))
    assert not len(find_reference(Plain(), given=str(tmp_path / "adm.npz"), features=False).features)


def saved(kind: str, value) -> bytes:
    file = io.BytesIO()
    if kind == "npz":
        np.savez(file, **value)
    elif kind == "pkl":
        pickle.dump(value, file)
    else:
        torch.save(value, file)
    return file.getvalue()


class Code:
    def __reduce__(self):
        return print, ("CANARY",)


GOOD = {"mu": np.zeros(D), "sigma": np.eye(D)}


def test_statistics_of_two_extractors(stats, tmp_path):
    """As EDM2's: each extractor gets its own, and one that is not among them none."""
    (tmp_path / "both.pkl").write_bytes(easy_dict(fid=stats, fd_dinov2={"mu": np.ones(D), "sigma": np.eye(D)}))
    other = Plain()
    other.gives_fid, other.name = False, "dinov2"
    assert np.array_equal(find_reference(other, given=str(tmp_path / "both.pkl"), features=False).moments.mean, np.ones(D))
    other.name = "dinov2-pil"
    with pytest.raises(UserError, match="has statistics fid, fd_dinov2, none of extractor 'dinov2-pil'"):
        find_reference(other, given=str(tmp_path / "both.pkl"), features=False)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.npz", {"mu": np.zeros(3), "sigma": np.eye(3)}, "statistics of 3 dimensions, .* gives 6 features; it is of another"),
        ("a.npz", {"mu": np.zeros(D), "sigma": np.zeros(D)}, r"mu is \[6\] and sigma \[6\]; statistics are"),
        ("a.npz", {"mu": np.zeros(D)}, "holds no statistics"),
        ("a.npz", {"mu": np.zeros(D), "sigma": np.full((D, D), np.nan)}, "sigma is no covariance, or not finite"),
        ("a.npz", {"mu": np.zeros(D), "sigma": np.triu(np.ones((D, D)))}, "sigma is no covariance"),
        ("a.npz", {"mu": np.array([{}] * D), "sigma": np.eye(D)}, "holds no statistics that can be read"),
        ("cifar10_clean_train_32.npz", GOOD, "its images were resized in another way than 'none'"),
        ("a.pkl", {"fid": {"mu": np.zeros(3), "sigma": np.eye(3)}}, "statistics of 3 dimensions"),
        ("a.pkl", {"fd_dinov2": GOOD, "fid": {}}, "holds no statistics"),
        ("a.pkl", [1], "holds no statistics"),
        ("a.pkl", Code(), "asks for 'builtins.print', which may be code"),
        ("a.pt", Code(), "holds no statistics that can be read"),
        ("a.pt", torch.zeros(3), "holds no statistics"),
        ("two-vgg16-stat-fid-fc2_relu.pt", GOOD, "is of extractor vgg16, not of 'inception'"),
        ("two-clip-vit-b-32-features-512.pt", GOOD, "is of extractor clip-vit-b-32, not of 'inception'"),
    ],
)
def test_statistics_that_do_not_fit_are_one_line(tmp_path, capsys, name, content, told):
    path = tmp_path / name
    path.write_bytes(saved(path.suffix[1:], content))
    with pytest.raises(UserError, match=told) as e:
        find_reference(Plain(), given=str(path))
    assert "\n" not in str(e.value)
    assert "CANARY" not in capsys.readouterr().out
