"""Images from EDM's layout: zips and folders, whole and damaged."""

import contextlib
import hashlib
import io
import json
import zipfile
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from samplers import UserError
from samplers.training.data import load_images
from samplers.training.recipe import DataSettings, load_split

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 8, 8), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def files_of(arrays, labels=None) -> dict[str, bytes]:
    """File name -> content of a data set in EDM's layout."""
    names = [f"00000/img{i:08d}.png" for i in range(len(arrays))]
    labels = list(range(len(arrays))) if labels is None else labels
    files = {name: png(a) for name, a in zip(names, arrays, strict=True)}
    files["dataset.json"] = json.dumps({"labels": [list(p) for p in zip(names, labels, strict=True)]}).encode()
    return files


def write(path, files: dict[str, bytes]):
    """As a zip where the path ends so, else as a folder."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    return path


@pytest.fixture(params=["set.zip", "set"])
def place(request, tmp_path):
    return tmp_path / request.param


def refused(path, match, **options):
    with pytest.raises(UserError, match=match) as e:
        load_images([path], **options)
    assert "\n" not in str(e.value)


def test_grey_images_and_labels(place):
    data = load_images([write(place, files_of(GREY, [3, 0, 1, 0, 2]))])
    assert data.images.dtype == torch.uint8
    assert torch.equal(data.images, torch.from_numpy(GREY)[:, None])
    assert data.labels.tolist() == [3, 0, 1, 0, 2]
    assert data.labels.dtype == torch.int64
    assert data.num_classes == 4


def test_colour_images_are_nchw(place):
    data = load_images([write(place, files_of(COLOUR))])
    assert torch.equal(data.images, torch.from_numpy(COLOUR).permute(0, 3, 1, 2))


def test_floats_run_from_minus_1_to_1(tmp_path):
    images = np.array([[[0, 255], [51, 204]]], dtype=np.uint8)
    data = load_images([write(tmp_path / "set", files_of(images))])
    torch.testing.assert_close(data.floats(slice(0, 1)).flatten(), torch.tensor([-1.0, 1.0, -0.6, 0.6]))
    assert data.floats(torch.tensor([0, 0])).shape == (2, 1, 2, 2)


def test_zip_and_folder_are_the_same_set(tmp_path):
    files = files_of(GREY)
    a, b = load_images([write(tmp_path / "a.zip", files)]), load_images([write(tmp_path / "b", files)])
    assert a.sha256 == b.sha256
    assert a.sha256 == hashlib.sha256(GREY.tobytes() + np.arange(5).tobytes()).hexdigest()


@pytest.mark.parametrize("other", [files_of(GREY, [0, 1, 2, 3, 3]), files_of(GREY[::-1])])
def test_hash_tells_labels_and_order(tmp_path, other):
    one, two = load_images([write(tmp_path / "a", files_of(GREY))]), load_images([write(tmp_path / "b", other)])
    assert one.sha256 != two.sha256


def test_several_sources_in_order(tmp_path):
    parts = [write(tmp_path / "a.zip", files_of(GREY[:2])), write(tmp_path / "b", files_of(GREY[2:], [2, 3, 4]))]
    data = load_images(parts)
    assert data.sha256 == load_images([write(tmp_path / "c", files_of(GREY))]).sha256


def test_padding_is_black_and_even(tmp_path):
    data = load_images([write(tmp_path / "set", files_of(GREY))], image_size=12)
    assert data.images.shape == (5, 1, 12, 12)
    assert torch.equal(data.images[:, :, 2:10, 2:10], torch.from_numpy(GREY)[:, None])
    assert int(data.images.sum()) == int(GREY.sum())


def test_odd_padding_keeps_the_pixels(tmp_path):
    data = load_images([write(tmp_path / "set", files_of(GREY))], image_size=11)
    assert data.images.shape[2:] == (11, 11)
    assert int(data.images.sum()) == int(GREY.sum())


def test_too_large_for_the_padding(place):
    refused(write(place, files_of(GREY)), "images are 8x8, larger than the 4x4", image_size=4)


def test_no_such_source(tmp_path):
    refused(tmp_path / "none.zip", "no data at .*none.zip")


def test_no_dataset_json(place):
    files = files_of(GREY)
    del files["dataset.json"]
    refused(write(place, files), "no dataset.json")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"{", "not valid JSON"),
        (b'{"images": []}', "no dataset.json with labels"),
        (b'{"labels": null}', "labels no image"),
        (b'{"labels": []}', "labels no image"),
        (b"[]", "dataset.json"),
        (b'{"labels": ["a.png"]}', "dataset.json"),
        (b'{"labels": [["00000/img00000000.png", "cat"]]}', "label cat is not a class"),
        (b'{"labels": [["00000/img00000000.png", null]]}', "label None is not a class"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 10**5, "not valid JSON"),
        (b'{"labels": [["00000/img00000000.png", -1]]}', "label -1 is not a class"),
        (b'{"labels": [["00000/img00000000.png", 65536]]}', "label 65536 is not a class"),
        (b'{"labels": [["00000/img00000000.png", 1e300]]}', "label 1e.300 is not a class"),
        (b'{"labels": [["00000/img00000000.png", 1.5]]}', "label 1.5 is not a class"),
        (b'{"labels": [["00000/img00000000.png", true]]}', "label True is not a class"),
        (b'{"labels": [["a\\u0000b", 0]]}', "names a.b, which is not there"),
        (b'{"labels": [["a\\nb", 0]]}', "names a b, which is not there"),
    ],
)
def test_bad_dataset_json(place, content, match):
    refused(write(place, files_of(GREY) | {"dataset.json": content}), match)


def test_named_image_is_missing(place):
    files = files_of(GREY)
    del files["00000/img00000003.png"]
    refused(write(place, files), "names 00000/img00000003.png, which is not there")


def test_images_of_several_shapes(place):
    refused(write(place, files_of([GREY[0], GREY[1][:4]])), "shape .* the images before it")


def test_grey_among_colour(place):
    refused(write(place, files_of([COLOUR[0], GREY[1]])), "shape .* the images before it")


def test_sources_of_several_shapes(tmp_path):
    with pytest.raises(UserError, match="but the first source has"):
        load_images([write(tmp_path / "a", files_of(GREY)), write(tmp_path / "b", files_of(COLOUR))])


@pytest.mark.parametrize(
    "damage", [b"", b"not an image", png(GREY[1])[:60], png(GREY[1])[:-30]], ids=["empty", "text", "head", "cut"]
)
def test_unreadable_image(place, damage):
    refused(write(place, files_of(GREY) | {"00000/img00000001.png": damage}), "img00000001.png is not a readable image")


def image_of(mode: str) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (8, 8)).save(buffer, "TIFF" if mode in ("CMYK", "F") else "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "I;16", "CMYK", "F"])
def test_only_grey_and_rgb_of_8_bits(place, mode):
    refused(write(place, files_of(GREY) | {"00000/img00000001.png": image_of(mode)}), "convert the images to 8-bit grey or RGB")


def bomb(width: int, height: int) -> bytes:
    """A PNG of so many pixels and few bytes: its header says so, its content is cut."""
    whole = png(GREY[0])
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + whole[24:29]
    return whole[:12] + header + zlib.crc32(header).to_bytes(4, "big") + whole[33:]


@pytest.mark.parametrize(
    ("width", "height", "match"), [(5000, 5, "5000x5 pixels"), (30000, 30000, "exceeds limit"), (9000, 9000, "9000x9000")]
)
def test_image_bombs(place, width, height, match):
    files = files_of(GREY[:1])
    refused(write(place, files | {"00000/img00000000.png": bomb(width, height)}), match)


def test_one_image_listed_too_often_for_the_memory(place, monkeypatch):
    monkeypatch.setattr("samplers.training.data.psutil.virtual_memory", lambda: SimpleNamespace(total=100))
    refused(write(place, files_of(GREY)), "5 images like .* do not fit into memory")


def test_a_file_that_unpacks_to_more_than_any_image(place, monkeypatch):
    monkeypatch.setattr("samplers.training.data.FILE", 200)
    refused(write(place, files_of(GREY[:1]) | {"00000/img00000000.png": bytes(201)}), "more than 200 bytes")


@pytest.mark.parametrize("keep", [0, 10, 200, -30])
def test_truncated_zip(tmp_path, keep):
    path = write(tmp_path / "set.zip", files_of(GREY))
    path.write_bytes(path.read_bytes()[:keep])
    refused(path, "not a whole zip file")


def test_zip_with_flipped_bytes(tmp_path):
    """Wherever the damage lies, it is told, or the set is read as it was."""
    path = write(tmp_path / "set.zip", files_of(GREY))
    whole, expected = path.read_bytes(), load_images([path]).sha256
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with contextlib.suppress(UserError):
            assert load_images([path]).sha256 == expected


def test_split_of_a_recipe(tmp_path):
    write(tmp_path / "a.zip", files_of(GREY))
    data = load_split(DataSettings(train="a.zip", held_out="b.zip", image_size=10), "train", tmp_path)
    assert data.images.shape == (5, 1, 10, 10)


@pytest.mark.parametrize("name", ["NMIST", "__doc__", "__path__", "mnist", "VisionDataset", ""])
def test_what_is_no_torchvision_set(name):
    refused(f"torchvision:{name}:nowhere", f"torchvision has no data set '{name}'")


@pytest.mark.parametrize("name", ["ImageNet", "FakeData", "CocoDetection", "DatasetFolder", "CIFAR10", "LSUN", "VOCDetection"])
def test_a_torchvision_set_that_does_not_load(name, tmp_path):
    (tmp_path / "file").touch()
    refused(f"torchvision:{name}:{tmp_path / 'file'}", f"could not load {name}")


def test_images_that_are_not_square(tmp_path):
    write(tmp_path / "a", files_of(GREY[:, :6]))
    with pytest.raises(UserError, match="images of 8x6 pixels; set image_size"):
        load_split(DataSettings(train="a", held_out="a"), "train", tmp_path)
    assert load_split(DataSettings(train="a", held_out="a", image_size=8), "train", tmp_path).images.shape == (5, 1, 8, 8)


def test_flips_come_from_the_generator_and_leave_the_rest_of_a_draw_alone(tmp_path):
    write(tmp_path / "a", files_of(COLOUR))
    plain = load_split(DataSettings(train="a", held_out="a"), "train", tmp_path)
    flipping = load_split(DataSettings(train="a", held_out="a", flip=True), "train", tmp_path)

    def draw(images, seed=0):
        return images.draw(64, 0.5, torch.Generator().manual_seed(seed))

    (as_is, labels), (images, same_labels) = draw(plain), draw(flipping)
    assert torch.equal(labels, same_labels)
    kept, turned = (images == as_is).flatten(1).all(1), (images == as_is.flip(3)).flatten(1).all(1)
    assert (kept ^ turned).all()
    assert 16 < int(turned.sum()) < 48
    assert torch.equal(draw(flipping)[0], images)
    assert flipping.sha256 == plain.sha256


def test_held_out_images_are_never_flipped(tmp_path):
    write(tmp_path / "a", files_of(COLOUR))
    assert not load_split(DataSettings(train="a", held_out="a", flip=True), "held_out", tmp_path).flip
