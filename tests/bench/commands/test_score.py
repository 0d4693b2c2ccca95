import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command import call
from PIL import Image

import bench
from bench.quality.elsewhere import PARTS, Spool, Stopwatch
from bench.quality.extractor import Extractor, Features, features_of
from bench.quality.metrics import score
from bench.quality.reference import find_reference
from bench.quality.sample import Sample
from samplers.errors import UserError

METRICS = ("fid", "fidinf", "kid", "prc", "isc")


class Small(Extractor):
    """In the place of Inception: the mean colours and two pixels."""

    name, sha256, shape, classes, dimensions = "inception", "1" * 64, ((1, 3), None, None), 4, 5
    gives_fid, resize = True, "as Inception"

    def __call__(self, images):
        seen = images.expand(-1, 3, -1, -1).float() / 255
        features = torch.cat([seen.mean((2, 3)), seen[:, 0, 0, :2]], 1)
        return Features(features, features[:, :4] * 5)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Images in a folder and the same in an npz, and real ones."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("bench.quality.inception.load", lambda rest: Small())
    pixels = np.random.default_rng(0).integers(0, 200, (70, 6, 6, 3), dtype=np.uint8)
    np.savez(tmp_path / "made.npz", pixels)
    np.savez(tmp_path / "real.npz", np.random.default_rng(1).integers(0, 256, (90, 6, 6, 3), dtype=np.uint8))
    (tmp_path / "made").mkdir()
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "made" / f"{i:03d}.png")
    return {name: tmp_path / name for name in ("made", "made.npz", "real.npz")}


def test_images_made_elsewhere_get_the_scores_of_a_run(files):
    pixels = torch.from_numpy(np.load(files["made.npz"])["arr_0"]).permute(0, 3, 1, 2)
    reference = find_reference(Small(), given=str(files["real.npz"]))
    seen = features_of(Small(), pixels)
    order = torch.randperm(70, generator=torch.Generator().manual_seed(0))
    expected = score(Sample(lambda: [seen], 70, kept=order), Small(), reference, METRICS, 0).quality
    for name in ("made", "made.npz"):
        found = bench.score(files[name], reference=str(files["real.npz"]), metrics=METRICS, batch_size=16, quiet=True)
        assert found.images.n == 70
        assert list(found.quality) == [f"{m}_inception" for m in ("fid", "fidinf", "kid", "precision", "recall", "is")]
        for metric, entry in found.quality.items():
            assert entry["value"] == pytest.approx(expected[metric]["value"], rel=1e-6)
            assert entry["rounding"] == "as in the files"
            assert entry["reference_sha256"] == (None if metric == "is_inception" else reference.sha256)
    assert not [p for p in (files["made"].parent / "cache").iterdir() if "reference" not in p.name]  # features are gone


def test_the_command_prints_scores_and_what_they_hang_on(files, tmp_path, monkeypatch, capsys):
    out = tmp_path / "scores.json"
    words = ["score", str(files["made"]), "--reference", str(files["real.npz"]), "--metrics", "fid,kid", "--out", str(out)]
    code, text, _ = call(monkeypatch, capsys, *words, "--quiet")
    assert code == 0
    for told in ("fid_inception", "made, 70 of [3, 6, 6]", "as Inception", "as in the files", "real.npz", "| 90"):
        assert told in text.replace("\\", "")
    assert "fewer images than dimensions" not in text
    written = json.loads(out.read_text())
    assert written["images"]["n"] == 70
    assert written["quality"]["fid_inception"]["reference_n"] == 90
    assert list(written["seconds"]) == list(PARTS)
    assert all(told in text for told in (f"{part} " for part in PARTS))
    few = tmp_path / "few.npz"
    np.savez(few, np.load(files["made.npz"])["arr_0"][:4])
    code, text, _ = call(monkeypatch, capsys, "score", str(few), "--reference", str(files["real.npz"]), "--quiet")
    assert code == 0
    assert "of 4 images in 5 dimensions; fewer images than dimensions leave the covariance singular" in text.replace("\\", "")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_clean_fid_gives_the_same_of_the_same_folders(files, tmp_path):
    """All but the features is its own: reading, moments, the distance by a square root of matrices."""
    theirs = pytest.importorskip("cleanfid.fid")
    (tmp_path / "real").mkdir()
    for i, image in enumerate(np.load(files["real.npz"])["arr_0"]):
        Image.fromarray(image).save(tmp_path / "real" / f"{i}.png")

    def features(images):
        return Small()(images.round().to(torch.uint8)).features

    told = {"mode": "legacy_tensorflow", "custom_feat_extractor": features, "num_workers": 0, "device": torch.device("cpu")}
    expected = theirs.compute_fid(str(files["made"]), str(tmp_path / "real"), verbose=False, **told)
    found = bench.score(files["made"], reference=str(tmp_path / "real"), quiet=True)
    assert found.quality["fid_inception"]["value"] == pytest.approx(expected, rel=1e-4)


def test_another_extractor_gives_no_fid(files, tmp_path):
    np.savez(tmp_path / "digits.npz", np.random.default_rng(0).integers(0, 256, (12, 32, 32, 1), dtype=np.uint8))
    found = bench.score(tmp_path / "digits.npz", extractor="mnist", quiet=True)
    assert list(found.quality) == ["fd_mnist"]
    assert found.quality["fd_mnist"]["reference_name"] == "mnist's own"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["made"], "fid needs reference moments, which extractor 'inception' comes without; name a --reference"),
        (["nowhere"], "unknown images 'nowhere'"),
        (["made", "--reference", "nowhere"], "unknown images 'nowhere'"),
        (["made", "--metrics", "fd"], "in Inception's features fd is called FID; ask for fid"),
        (["made", "--extractor", "mnist"], "extractor 'mnist' needs uint8 images [B, 1, 32, 32], not"),
        (["made", "--extractor", "mnist", "--inception-weights", "x"], "inception_weights are for the extractor inception"),
        (["made", "--inception-weights", "nowhere.pth"], "no weights at nowhere.pth"),
        (["made", "--reference", "real.npz", "--metrics", "fid,isk"], "unknown metric 'isk'; did you mean 'isc'"),
        (["made", "--reference", "other.npz"], "has statistics of 3 dimensions, extractor 'inception' gives 5 features"),
    ],
)
def test_a_mistake_is_one_line(files, tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    np.savez("other.npz", mu=np.zeros(3), sigma=np.eye(3))
    code, _, err = call(monkeypatch, capsys, "score", *words, "--quiet")
    assert code == 2
    assert told in err


def test_each_part_has_the_seconds_that_it_took(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr("bench.quality.elsewhere.time.perf_counter", lambda: float(next(clock)))
    watch = Stopwatch()
    for _ in watch.each("reading", iter(torch.zeros(2, 1))):  # begins and ends three times, the last without an item
        with watch("extractor"):
            next(clock)
    assert watch.seconds == dict.fromkeys(PARTS, 0.0) | {"reading": 3.0, "extractor": 4.0}


def test_rows_come_back_from_the_disk_as_often_as_wanted(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr("bench.quality.elsewhere.ROWS", 4)
    rows = torch.randn(11, 3)
    with Spool() as spool:
        for part in rows.split(2):
            spool.add(part)
        for _ in range(2):
            assert [len(p) for p in spool.parts()] == [4, 4, 3]
            assert torch.equal(torch.cat(list(spool.parts())), rows)
    monkeypatch.setenv("BENCH_CACHE", "/dev/null/x")
    with pytest.raises(UserError, match=r"cannot write to /dev/null/x .*; name another folder by BENCH_CACHE"):
        Spool()
