import shutil
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image

from bench.quality import inception as module
from bench.quality.extractor import Extractor, Features, features_of, load_extractor
from bench.quality.metrics import check_needs, score
from bench.quality.pictures import open_pictures
from bench.quality.reference import find_reference
from bench.quality.sample import Sample
from samplers.errors import UserError
from samplers.files import sha256

N = 12


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two folders of images, and torch-fidelity's figures for them, end to end, with its caches."""
    folder, generator = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for name, top in (("one", 256), ("two", 240)):
        (folder / name).mkdir()
        for i in range(N):
            Image.fromarray(generator.integers(0, top, (32, 32, 3), dtype=np.uint8)).save(folder / name / f"{i}.png")
    return {"one": folder / "one", "two": folder / "two", "cache": folder / "cache"}


@pytest.fixture(scope="module")
def theirs(folders: dict[str, Path], inception: Path) -> dict[str, float]:
    """At the layer of 768 features, since torch-fidelity takes half a minute for the eigenvalues of 2048."""
    from torch_fidelity import calculate_metrics

    return calculate_metrics(
        **{f"input{i}": str(folders[name]) for i, name in ((1, "one"), (2, "two"))},
        **{f"input{i}_cache_name": name for i, name in ((1, "one"), (2, "two"))},
        **{f"feature_layer_{metric}": "768" for metric in ("fid", "kid", "prc")},
        **dict.fromkeys(("fid", "kid", "prc", "isc"), True),
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(inception),
        cache_root=str(folders["cache"]),
        kid_subset_size=N,
        cuda=False,
        save_cpu_ram=True,
        verbose=False,
    )


class Earlier(module.Inception):
    """With the 768 features of an earlier layer."""

    dimensions = 768

    def __call__(self, images):
        seen = []
        hook = self.network.Mixed_6e.register_forward_hook(lambda *told: seen.append(told[2].mean((2, 3))))
        logits = super().__call__(images).logits
        hook.remove()
        return Features(torch.cat(seen), logits)


@pytest.fixture(scope="module")
def extractor(inception: Path) -> Extractor:
    """Ours at that layer, with weights that pass for the published ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SHA256", sha256(inception))
        return Earlier(module.load(str(inception)).network, module.SHA256)


@pytest.fixture(scope="module")
def seen(folders: dict[str, Path], extractor: Extractor) -> Sample:
    return Sample.of(*features_of(extractor, open_pictures(folders["one"]).read(0, N)))


def scores(sample: Sample, extractor: Extractor, reference: Path, *metrics: str) -> dict[str, float]:
    real = find_reference(extractor, given=str(reference), features=metrics != ("fid",))
    found = score(sample, extractor, real, metrics, 2020).quality
    return {name: entry["value"] for name, entry in found.items()}


def test_scores_equal_torch_fidelity_end_to_end(folders, theirs, seen, extractor, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    ours = scores(seen, extractor, folders["two"], "fid", "kid", "prc", "isc")
    expected = {
        "fid_inception": theirs["frechet_inception_distance"],
        "kid_inception": theirs["kernel_inception_distance_mean"],
        "precision_inception": theirs["precision"],
        "recall_inception": theirs["recall"],
        "is_inception": theirs["inception_score_mean"],
    }
    assert ours == pytest.approx(expected, rel=1e-4)
    assert expected["fid_inception"] > 1
    monkeypatch.setattr(Earlier, "__call__", None)  # the reference comes from the cache
    assert scores(seen, extractor, folders["two"], "fid", "kid", "prc", "isc") == ours


@pytest.mark.parametrize("size", [(32, 32), (7, 400), (299, 299), (1, 1)])
def test_the_resize_is_torch_fidelitys_to_the_last_bit(size):
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    images = torch.randint(0, 256, (2, 3, *size), generator=torch.Generator().manual_seed(0)).float()
    expected = interpolate_bilinear_2d_like_tensorflow1x(images, size=(299, 299), align_corners=False)
    assert torch.equal(module.resized(images), expected)


def test_features_and_logits_are_torch_fidelitys(inception):
    ours = load_extractor(f"inception:{inception}")
    pixels = torch.randint(0, 256, (2, 3, 20, 31), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    features, logits = features_of(ours, pixels)
    ours.network.features_list = ["2048", "logits_unbiased"]
    for found, expected in zip((features, logits), ours.network(pixels), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(("file", "metrics"), [("stat-fid-768", ["fid"]), ("features-768", ["fid", "kid", "prc"])])
def test_torch_fidelitys_cache_is_a_reference(folders, theirs, seen, extractor, file, metrics):
    ours = scores(seen, extractor, folders["cache"] / f"two-inception-v3-compat-{file}.pt", *metrics)
    assert ours["fid_inception"] == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)
    kid = theirs["kernel_inception_distance_mean"] if "kid" in metrics else 1
    assert ours.get("kid_inception", 1) == pytest.approx(kid, rel=1e-4)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_features_are_pytorch_fids_of_images_that_need_no_resize(inception, monkeypatch):
    """Its own resize and its scaling of pixels differ, so images of 299x299 go in as the network takes them."""
    theirs = pytest.importorskip("cleanfid.inception_pytorch")
    monkeypatch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: torch.load(inception, weights_only=True))
    pixels = torch.randint(0, 256, (1, 3, 299, 299), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network = theirs.InceptionV3(resize_input=False, normalize_input=False).eval()
        expected = network((pixels.float() - 128) / 128)[0][:, :, 0, 0]
    found = features_of(load_extractor(f"inception:{inception}"), pixels).features
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_other_weights_give_features_and_no_fid(inception, extractor, monkeypatch):
    other = load_extractor(f"inception:{inception}")
    assert (other.name, other.gives_fid) == (f"inception-{sha256(inception)[:8]}", False)
    grey = torch.randint(0, 256, (1, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    features, logits = features_of(other, grey)
    assert (features.shape, logits.shape) == ((1, 2048), (1, 1008))
    assert torch.equal(features, features_of(other, grey.repeat(1, 3, 1, 1)).features)
    with pytest.raises(UserError, match=r"needs uint8 images \[B, 1 or 3, any, any\], not .* of shape \[1, 4, 8, 8\]"):
        features_of(other, grey.repeat(1, 4, 1, 1))
    real = find_reference(other)
    with pytest.raises(UserError, match="fid is the distance in published Inception's features, not in those of 'inception-"):
        check_needs(["fid"], other, real, False)
    with pytest.raises(UserError, match="in Inception's features fd is called FID; ask for fid"):
        check_needs(["fd"], extractor, real, False)
    with pytest.raises(UserError, match=r"SHA-256 is .* that of Inception's published weights 6726825d0af5...; fetch https://"):
        load_extractor("inception", str(inception))
    with pytest.raises(UserError, match=r"extractor 'inception-.*' has others"):
        find_reference(other, given=str(inception))


def test_published_weights_are_fetched_once_and_checked(inception, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(module, "SHA256", sha256(inception))
    monkeypatch.setattr(module, "_network", lambda *_: torch.nn.Identity())
    file = tmp_path / "hub" / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth"

    def offline(url, *_, **__):
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(UserError, match=rf"are not at {file} and cannot be fetched .*no network.*; put https://.* there"):
        load_extractor("inception")
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda url, path, hash_prefix: shutil.copy(inception, path))
    assert load_extractor("inception").gives_fid
    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    assert load_extractor("inception").sha256 == sha256(inception)
    file.write_bytes(b"x")
    with pytest.raises(UserError, match=r"SHA-256 is .*; remove it to fetch it again"):
        load_extractor("inception")


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"a": torch.zeros(2)}, "holds weights of another network than Inception"),
        ({"a": torch.full((2,), float("nan"))}, "NaN or infinite numbers in 'a'"),
        ([torch.zeros(2)], "is no state dict of tensors"),
        ("code", "holds no weights that can be read"),
        (None, "no weights at"),
    ],
)
def test_files_that_hold_no_weights(tmp_path, content, told):
    file, canary = tmp_path / "w.pth", tmp_path / "canary"
    if content is not None:
        torch.save(Canary(canary) if content == "code" else content, file)
    with pytest.raises(UserError, match=told) as e:
        load_extractor(f"inception:{file}")
    assert "\n" not in str(e.value)
    assert not canary.exists()
