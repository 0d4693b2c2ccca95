import json

import numpy as np
import pytest
import torch
from command import call
from PIL import Image
from small import Gaussian

import bench
from bench.quality.extractor import Extractor, Features
from bench.quality.pictures import open_pictures
from bench.records.frame import load_records
from bench.records.images import write_folder, write_npz
from bench.reports.report import document
from bench.runs.plan import make_plan, read_plan
from bench.runs.tuning import tune
from bench.runs.tuning_settings import TuningSettings
from samplers.errors import UserError
from samplers.training.data import load_images


class Small(Extractor):
    """In the place of Inception, which takes a tenth of a second an image: the mean colour and two pixels."""

    name, sha256, shape, classes, dimensions = "inception", "1" * 64, ((1, 3), None, None), 1008, 5
    gives_fid, resize = True, "as Inception"

    def __call__(self, images):
        seen = images.expand(-1, 3, -1, -1).float() / 255
        return Features(torch.cat([seen.mean((2, 3)), seen[:, 0, 0, :2]], 1), torch.zeros(len(images), 1008))


@pytest.fixture
def fid(small, tmp_path, monkeypatch) -> dict:
    """Options of a run with FID by a small extractor, against random images."""
    monkeypatch.setattr("bench.quality.inception.load", lambda rest: Small())
    np.savez(tmp_path / "real.npz", np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8))
    options = {k: v for k, v in small.items() if k != "extractor"}
    return options | {"reference": str(tmp_path / "real.npz"), "repetitions": 0, "trajectory_images": 0}


@pytest.mark.parametrize(
    ("given", "metrics", "extractor"),
    [
        ({"metrics": ("fid", "kid")}, ("fid", "kid"), "inception"),
        ({"metrics": "fid"}, ("fid",), "inception"),
        ({"extractor": "inception"}, ("fid",), "inception"),
        ({"inception_weights": "w.pth"}, ("fid",), "inception"),
        ({"extractor": "inception", "metrics": ("kid",)}, ("kid",), "inception"),
        ({"metrics": ("fid",), "extractor": "mnist"}, ("fid",), "mnist"),  # refused by its features
        ({}, ("fd",), None),
    ],
)
def test_fid_and_inception_ask_for_each_other(given, metrics, extractor):
    plan = make_plan(**given)
    assert (plan.metrics, plan.extractor) == (metrics, extractor)


def test_weights_of_inception_are_for_nothing_else():
    with pytest.raises(UserError, match="inception_weights are for the extractor inception; leave out one"):
        make_plan(extractor="mnist", inception_weights="w.pth")


def test_a_run_is_ranked_by_fid_and_says_with_what(fid, tmp_path):
    df = bench.run(out=tmp_path / "run", metrics=("fid", "kid", "prc"), quiet=True, **fid)
    row = df.iloc[0]
    assert (row["rank_by.metric"], row["quality.fid_inception.dimensions"]) == ("fid", 5)
    assert row["quality.fid_inception.value"] > 0
    assert row["quality.fid_inception.n"] == 50
    assert (row["quality.fid_inception.reference_name"], row["quality.fid_inception.reference_n"]) == ("real.npz", 60)
    assert (row["quality.fid_inception.resize"], row["quality.fid_inception.rounding"]) == ("as Inception", "nearest")
    assert not [c for c in df.columns if "fd_" in c]
    assert pd_missing(row, "quality.label_agreement.value")  # Inception's classes are not the teacher's
    assert len(list((tmp_path / "run" / "influence").iterdir())) == len(df)
    text = str(document(load_records([tmp_path / "run"]), tmp_path))
    assert "FID (fid_inception)" in text
    assert "It is not FID" not in text
    assert "fewer images" not in text
    assert "resize: as Inception; rounding: nearest; dimensions: 5; reference name: real.npz; reference n: 60" in text


def pd_missing(row, column: str) -> bool:
    return column not in row or bool(np.isnan(row[column]))


def test_fewer_images_than_dimensions_are_told(fid, tmp_path, monkeypatch, capsys):
    flags = [f"--{k.replace('_', '-')}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in fid.items()]
    few = ["--images=4", "--batch-size=4", "--metrics=fid", "--samplers=ddim", "--calls=1", f"--out={tmp_path / 'few'}"]
    code, out, _ = call(monkeypatch, capsys, "run", *flags, *few, "--no-report", "--quiet")
    assert code == 0
    assert "fid_inception is of 4 images in 5 dimensions; fewer images than dimensions leave the" in " ".join(out.split())
    text = str(document(load_records([tmp_path / "few"]), tmp_path))
    assert "It is of fewer images (4) than dimensions (5)" in text


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"reference": None}, "fid needs reference moments, which extractor 'inception' comes without; name a --reference"),
        ({"metrics": ("fd",), "extractor": "inception"}, "in Inception's features fd is called FID; ask for fid"),
        ({"metrics": ("fid",), "extractor": None, "reference": "nothing"}, "unknown images 'nothing'"),
        ({"metrics": ("fid", "fd")}, "in Inception's features fd is called FID"),
    ],
)
def test_what_fid_lacks_is_told_before_anything_is_written(fid, tmp_path, given, told):
    with pytest.raises(UserError, match=told):
        bench.run(out=tmp_path / "run", quiet=True, **(fid | {"metrics": ("fid",)} | given))
    assert not (tmp_path / "run").exists()


def test_a_plan_with_fid_reads_as_it_was_written(tmp_path):
    plan = make_plan(metrics=("fid",), reference="cifar10-train")
    (tmp_path / "plan.yaml").write_text(plan.to_yaml())
    assert read_plan(tmp_path / "plan.yaml") == plan


def test_candidates_are_scored_as_the_study_is(fid, tmp_path, monkeypatch):
    caught = []
    monkeypatch.setattr("bench.runs.tuning.run_plan", lambda plan, *_, **__: caught.append(plan) or [])
    study = make_plan(teacher=fid["teacher"], metrics=("fid",), reference="cifar10-train", inception_weights="w.pth")
    with pytest.raises(UserError, match="no candidate gave a score"):
        tune(TuningSettings(samplers=("ddim",), seed=1), study, tmp_path)
    same = ("metrics", "extractor", "inception_weights", "reference")
    assert [getattr(caught[0], k) for k in same] == [getattr(study, k) for k in same]


# ---------------------------------------------------------------- tiers


@pytest.mark.parametrize(("tier", "images"), [("smoke", 1000), ("standard", 10_000), ("paper", 50_000)])
def test_a_tier_is_a_number_of_images(tier, images, tmp_path):
    plan = make_plan(quality=tier)
    assert (plan.images, plan.batch_size) == (images, 64)
    (tmp_path / "plan.yaml").write_text(plan.to_yaml())
    assert read_plan(tmp_path / "plan.yaml") == plan
    (tmp_path / "other.yaml").write_text("images: 640\nsamplers: ddim\n")
    assert read_plan(tmp_path / "other.yaml", quality=tier).images == images
    assert read_plan(tmp_path / "plan.yaml", images=640).images == 640
    assert read_plan(tmp_path / "plan.yaml", quality="smoke").images == 1000


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"quality": "paper", "images": 640}, "quality and images both give the number of images; leave out one"),
        ({"quality": "papers"}, "unknown quality 'papers'; did you mean 'paper'"),
        ({"quality": ["paper"]}, "quality must be"),
    ],
)
def test_a_tier_that_is_none(given, told):
    with pytest.raises(UserError, match=told):
        make_plan(**given)


# ---------------------------------------------------------------- images as files


@pytest.mark.parametrize("kind", ["png", "npz"])
@pytest.mark.parametrize("metrics", ["none", "fid"])
def test_all_images_are_saved_and_score_the_same_from_their_files(fid, tmp_path, kind, metrics):
    options = fid | {"samplers": ("ddim",), "calls": (2,), "images": 50}
    df = bench.run(out=tmp_path / "run", save_images=kind, metrics=metrics, quiet=True, **options)
    (saved,) = (tmp_path / "run" / "images").iterdir()
    assert saved.stem == df["cell"][0]
    pictures = open_pictures(saved)
    assert (pictures.n, pictures.shape) == (50, (1, 8, 8))
    shown = np.asarray(Image.open(tmp_path / "run" / "samples" / f"{saved.stem}.png"))  # ten images in a row
    row = pictures.read(0, 10)[:, 0].permute(1, 0, 2).reshape(8, 80)
    assert (row.numpy() == shown).all()
    if metrics == "fid":
        found = bench.score(saved, reference=fid["reference"], quiet=True)
        assert found.quality["fid_inception"]["value"] == pytest.approx(df["quality.fid_inception.value"][0], rel=1e-6)
    if kind == "npz":
        with np.load(saved) as arrays:
            assert (arrays["arr_1"] == np.arange(50) % 3).all()
    else:
        data = load_images([saved])  # EDM's layout
        assert (data.labels.numpy() == np.arange(50) % 3).all()
        assert torch.equal(data.images, pictures.read(0, 50))


def test_images_without_labels_and_in_colour(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 6), dtype=np.uint8)
    write_folder(tmp_path / "png", [pixels[:2], pixels[2:]], None)
    write_npz(tmp_path / "a.npz", [pixels[:2], pixels[2:]], 5, None)
    assert json.loads((tmp_path / "png" / "dataset.json").read_text()) == {"labels": None}
    for path in (tmp_path / "png", tmp_path / "a.npz"):
        assert (open_pictures(path).read(0, 5).numpy() == pixels).all()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*a.npz \(File exists\)"):
        write_npz(tmp_path / "file" / "a.npz", [pixels], 5, None)


def test_what_is_no_image_cannot_be_saved(tmp_path):
    with pytest.raises(UserError, match="makes no grey or RGB images; leave out --save-images"):
        bench.run(
            teacher=Gaussian(), save_images="png", metrics="none", out=tmp_path / "run", quiet=True, images=4, device="cpu"
        )
