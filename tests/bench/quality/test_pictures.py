import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.quality.pictures import Pictures, open_pictures
from samplers.errors import UserError


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (7, 5, 4, 3), dtype=np.uint8)  # [N, H, W, C]


@pytest.fixture
def folder(tmp_path: Path, pixels: np.ndarray) -> Path:
    """EDM's layout, in which images lie in folders."""
    for i, image in enumerate(pixels):
        path = tmp_path / "images" / f"{i // 4:05d}" / f"img{i:08d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(image))
    (tmp_path / "images" / "dataset.json").write_text("{}")
    return tmp_path / "images"


def whole(pictures: Pictures, size: int) -> torch.Tensor:
    return torch.cat(list(pictures.batches(size)))


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_a_folder_a_zip_and_an_npz_are_the_same_images(folder, tmp_path, pixels, size):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for path in sorted(folder.rglob("*.*"), reverse=True):
            archive.write(path, path.relative_to(folder))
    np.savez_compressed(tmp_path / "images.npz", pixels, np.arange(7))
    found = [open_pictures(p) for p in (folder, tmp_path / "images.zip", tmp_path / "images.npz")]
    for pictures in found:
        assert (pictures.n, pictures.shape) == (7, (3, 5, 4))
        assert torch.equal(whole(pictures, size), torch.from_numpy(pixels).permute(0, 3, 1, 2))
        assert torch.equal(pictures.read(5, 7), pictures.read(5, 7))
        assert torch.equal(whole(pictures, size), whole(pictures, 7))  # again from the start
    assert found[0].sha256 == found[1].sha256
    assert found[0].name == "images"


def test_content_decides_the_hash(folder):
    before = open_pictures(folder).sha256
    folder.rename(folder.with_name("moved"))
    assert open_pictures(folder.with_name("moved")).sha256 == before
    (folder.with_name("moved") / "00000" / "img00000000.png").write_bytes(png(np.zeros((5, 4, 3), np.uint8)))
    assert open_pictures(folder.with_name("moved")).sha256 != before


def test_memory_holds_no_more_than_a_batch(folder, monkeypatch):
    monkeypatch.setattr("bench.quality.pictures.PIXELS", 3 * 5 * 4 * 2)
    assert [len(b) for b in open_pictures(folder).batches(100)] == [2, 2, 2, 1]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("img9.png", b"no image", "img9.png is not a readable image"),
        ("img9.png", png(np.arange(60, dtype=np.uint8).reshape(5, 4, 3))[:-40], "img9.png is not a readable image"),
        ("img9.png", png(np.zeros((5, 4, 4), np.uint8)), "img9.png is of mode RGBA; convert"),
        (
            "img9.png",
            png(np.zeros((6, 4, 3), np.uint8)),
            r"img9.png has shape \[3, 6, 4\], .* \[3, 5, 4\]; bring them to one size",
        ),
        ("img9.png", png(np.zeros((5, 4), np.uint8)), r"img9.png has shape \[1, 5, 4\]"),
    ],
)
def test_an_image_that_is_none_is_named(folder, name, content, told):
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=told) as e:
        whole(open_pictures(folder), 3)
    assert "\n" not in str(e.value)


def npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def cut(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda p: "cifar11-train", "unknown images 'cifar11-train'; did you mean 'cifar10-train'"),
        (lambda p: p / "none", "no images at .*none; name a folder, zip or npz that is there"),
        (lambda p: cut(p / "records.jsonl", b"").parent, r"is a run's folder; name the images of a cell, .*/images/CELL"),
        (lambda p: p / "none.npz", "no images at .*none.npz .No such file"),
        (lambda p: p / "none.zip", "no images at .*none.zip .No such file"),
        (lambda p: p, "holds no images"),
        (lambda p: cut(p / "a.zip", b"PK"), "a.zip is not whole"),
        (lambda p: cut(p / "a.npz", b"PK"), "a.npz is not whole"),
        (lambda p: cut(p / "a.txt", b""), "a.txt is no folder, zip or npz of images"),
        (lambda p: npz(p / "a.npz", images=np.zeros(3)), "holds images; images are arr_0, uint8"),
        (lambda p: npz(p / "a.npz", arr_0=np.zeros((2, 4, 4, 3))), r"arr_0 is float64 \[2, 4, 4, 3\]; images are uint8"),
        (lambda p: npz(p / "a.npz", arr_0=np.zeros((2, 3, 4, 4), np.uint8)), r"arr_0 is uint8 \[2, 3, 4, 4\]"),
        (lambda p: npz(p / "a.npz", arr_0=np.array([{}, 1], dtype=object)), r"arr_0 is object \[2\]"),
    ],
)
def test_what_holds_no_images_is_one_line(tmp_path, make, told):
    with pytest.raises(UserError, match=told) as e:
        open_pictures(make(tmp_path))
    assert "\n" not in str(e.value)


def test_a_data_set_that_cannot_be_fetched_says_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))

    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.CIFAR10.__init__", offline)
    with pytest.raises(UserError, match=r"no network; where there is no network put cifar-10-python.tar.gz into .*torchvision"):
        open_pictures("cifar10-test")
