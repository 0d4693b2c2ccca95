import numpy as np
import pytest
import torch
from command import call

import bench
from bench.quality.extractor import Extractor, Features
from bench.records.frame import load_records
from bench.reports.report import document
from bench.runs.plan import make_plan, read_plan
from samplers.errors import UserError


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
    assert "resize: as Inception; rounding: nearest; dimensions: 5; reference name: real.npz; reference n: 60" in text


def pd_missing(row, column: str) -> bool:
    return column not in row or bool(np.isnan(row[column]))


def test_fewer_images_than_dimensions_are_told(fid, tmp_path, monkeypatch, capsys):
    flags = [f"--{k.replace('_', '-')}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in fid.items()]
    few = ["--images=4", "--batch-size=4", "--metrics=fid", "--samplers=ddim", "--calls=1", f"--out={tmp_path / 'few'}"]
    code, out, _ = call(monkeypatch, capsys, "run", *flags, *few, "--no-report", "--quiet")
    assert code == 0
    assert "fid_inception is of 4 images in 5 dimensions; fewer images than dimensions leave the" in " ".join(out.split())


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
