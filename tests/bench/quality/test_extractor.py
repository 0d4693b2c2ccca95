import io
import json
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from bench.quality.classifier import Classifier, ClassifierConfig, Residual, extract
from bench.quality.extractor import features_of, find_extractor, load_extractor
from bench.quality.extractor_training import ExtractorTraining
from bench.quality.frechet import frechet_distance
from bench.quality.images import to_uint8
from bench.quality.moments import Moments
from bench.quality.reference import Reference, find_reference
from samplers.errors import UserError
from samplers.models.zoo import ZOO
from samplers.training.data import load_images
from samplers.training.recipe import read_recipe

DATA = Path(__file__).parents[4] / "shared" / "data"


def random_images(n, seed=0):
    return torch.randint(0, 256, (n, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def mnist():
    return load_extractor("mnist")


@pytest.fixture(scope="module")
def real(mnist):
    return find_reference(mnist)


@pytest.fixture
def copied(tmp_path):
    """The shipped extractor's files in a folder of one's own; the path of the card."""
    for name in ("mnist.json", "mnist.safetensors", "mnist_reference.safetensors"):
        shutil.copy(ZOO / name, tmp_path / name)
    return tmp_path / "mnist.json"


# ---------------------------------------------------------------- quantising


def test_every_level_survives_the_round_trip():
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(levels.float() / 127.5 - 1), levels)


def test_quantising_clamps_rounds_and_leaves_bf16_first():
    values = torch.tensor([-7.0, -1.0, -0.999, 0.0, 0.6 / 127.5, 1.0, 1.2, 300.0])
    assert to_uint8(values).tolist() == [0, 0, 0, 128, 128, 255, 255, 255]
    x = torch.rand(1000).bfloat16() * 2 - 1
    assert torch.equal(to_uint8(x), to_uint8(x.float()))


# ---------------------------------------------------------------- the shipped extractor


def test_shipped_extractor(mnist, real):
    features, logits = features_of(mnist, random_images(7))
    assert (features.shape, logits.shape) == ((7, 64), (7, 10))
    assert features.dtype == logits.dtype == torch.float32
    assert (mnist.name, mnist.shape, mnist.classes) == ("mnist", (1, 32, 32), 10)
    assert mnist.card["test_accuracy"] >= 0.99
    assert real.moments.n == 60_000
    assert real.features.shape == (5000, 64)
    assert real.features.dtype == torch.float32
    assert (real.sha256, real.key.extractor) == (mnist.card["reference_sha256"], mnist.sha256)
    assert (ZOO / "mnist.safetensors").stat().st_size < 300_000
    assert (ZOO / "mnist_reference.safetensors").stat().st_size < 1_000_000


def test_reference_sample_belongs_to_the_reference_moments(real):
    """5,000 of the 60,000: their distance is that of a sample, tiny beside the features' spread."""
    distance = frechet_distance(Moments.of(real.features), real)
    assert distance < 0.01 * real.trace


def test_features_do_not_depend_on_the_batch(mnist):
    images = random_images(9)
    together, alone = mnist(images)[0], torch.cat([mnist(image[None])[0] for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_one_forward_stays_below_a_hundredth_of_a_gigaflop(mnist):
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        mnist.network(torch.zeros(1, 1, 32, 32))
    assert counter.get_total_flops() < 0.01e9


@pytest.mark.skipif(not (DATA / "mnist-28x28-test.zip").exists(), reason="no MNIST at ../shared/data")
def test_shipped_extractor_scores_what_its_card_says(mnist, real):
    held_out = load_images([DATA / "mnist-28x28-test.zip"], 32)
    features, logits = mnist(held_out.images)
    right = (logits.argmax(dim=1) == held_out.labels).double().mean()
    assert float(right) == pytest.approx(mnist.card["test_accuracy"], abs=2e-4)
    floor = frechet_distance(Moments.of(features), real)
    assert floor == pytest.approx(mnist.card["floor"]["frechet_distance"], rel=1e-3)


@pytest.mark.parametrize(
    "images", [torch.zeros(2, 1, 32, 32), torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.zeros(2, 1, 28, 28).byte()]
)
def test_images_of_another_kind_are_refused(mnist, images):
    with pytest.raises(UserError, match=r"needs uint8 images \[B, 1, 32, 32\]"):
        features_of(mnist, images)


# ---------------------------------------------------------------- damaged files


def test_unknown_extractor_names_the_nearest():
    with pytest.raises(UserError, match="unknown extractor 'mnits'; did you mean 'mnist'"):
        load_extractor("mnits")


@pytest.mark.parametrize("name", ["mnist.safetensors", "mnist_reference.safetensors"])
def test_damaged_and_missing_files_are_refused(copied, name):
    assert find_reference(load_extractor(copied)).moments.n == 60_000
    path = copied.parent / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(UserError, match="SHA-256"):
        find_reference(load_extractor(copied))
    path.unlink()
    with pytest.raises(UserError, match=f"no weights at .*{name}"):
        find_reference(load_extractor(copied))


def test_a_file_that_is_not_safetensors_is_refused_even_with_its_hash_on_the_card(copied):
    import hashlib

    content = b"\x80\x04pickle"
    (copied.parent / "mnist.safetensors").write_bytes(content)
    card = json.loads(copied.read_text()) | {"sha256": hashlib.sha256(content).hexdigest()}
    copied.write_text(json.dumps(card))
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_extractor(copied)


def test_a_card_of_another_network_is_refused(copied):
    card = json.loads(copied.read_text())
    card["network"]["widths"] = [8, 32, 48, 64]
    copied.write_text(json.dumps(card))
    with pytest.raises(UserError, match="the network needs"):
        load_extractor(copied)


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ({"widths": [16, 32, 48]}, "widths must have 4 or more values"),
        ({"widths": [10, 32, 48, 64]}, "multiple of 8"),
        ({"widths": [0, 32, 48, 64]}, "widths must be at least 8, got 0"),
        ({"blocks": -1}, "blocks must be at least 0, got -1"),
        ({"depth": 3}, "'depth'"),
    ],
)
def test_a_network_that_cannot_be_is_refused(network, told):
    with pytest.raises(UserError, match=told):
        ClassifierConfig(**{"channels": 1, "image_size": 32, "classes": 10} | network)


# ---------------------------------------------------------------- which extractor for which teacher


def test_extractor_of_the_teachers_data_is_found(mnist):
    teacher = SimpleNamespace(name="t", image_shape=(1, 32, 32), data=mnist.card["data_sha256"])
    assert find_extractor(None, teacher).name == "mnist"
    teacher.data = None
    with pytest.raises(UserError, match="no extractor was trained on the data of teacher 't'"):
        find_extractor(None, teacher)
    assert find_extractor("mnist", teacher).name == "mnist"
    teacher.image_shape = (3, 32, 32)
    with pytest.raises(UserError, match=r"scores images \[1, 32, 32\], teacher 't' makes \[3, 32, 32\]"):
        find_extractor("mnist", teacher)
    teacher.image_shape = None
    with pytest.raises(UserError, match="cannot decode its latents"):
        find_extractor("mnist", teacher)


# ---------------------------------------------------------------- torch-fidelity


# ---------------------------------------------------------------- training


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A recipe and data of two classes (bright top, bright bottom), and where its training went."""
    folder = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(0)
    for split, count in (("train", 120), ("test", 40)):
        labels = []
        with zipfile.ZipFile(folder / f"{split}.zip", "w") as archive:
            for i in range(count):
                pixels = rng.integers(0, 60, (16, 16), dtype=np.uint8)
                pixels[8 * (i % 2) : 8 * (i % 2) + 8] += 150
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, "png")
                archive.writestr(f"{i}.png", buffer.getvalue())
                labels.append([f"{i}.png", i % 2])
            archive.writestr("dataset.json", json.dumps({"labels": labels}))
    recipe = {
        "data": {"train": ["train.zip"], "held_out": ["test.zip"], "image_size": 16},
        "extractor": {
            "name": "tiny",
            "network": {"widths": [8, 8, 8, 8], "features": 6},
            "shift": 1,
            "reference_images": 50,
            "optimisation": {"steps": 60, "batch": 16, "learning_rate": 0.01, "warmup": 5, "ema": 0.9, "validate_every": 30},
        },
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    return folder, ExtractorTraining.train(folder / "tiny.yaml", folder, folder / "out", quiet=True)


def test_training_writes_an_extractor_that_loads_and_sees(trained):
    folder, path = trained
    extractor = load_extractor(path)
    images = load_images([folder / "train.zip"], 16)
    features, logits = extractor(images.images)
    assert (logits.argmax(1) == images.labels).double().mean() > 0.95
    assert extractor.card["test_accuracy"] > 0.9
    assert extractor.card["data_sha256"] == images.sha256
    assert extractor.card["training"]["steps"] == 60
    # The reference is of the stored weights' own features.
    own = find_reference(extractor)
    np.testing.assert_allclose(own.moments.mean, features.double().numpy().mean(0), rtol=1e-5, atol=1e-6)
    held_out = Moments.of(extractor(load_images([folder / "test.zip"], 16).images)[0])
    assert extractor.card["floor"]["frechet_distance"] == pytest.approx(
        frechet_distance(held_out, Reference(Moments.of(features))), rel=1e-3, abs=2e-6
    )
    stored = own.features
    assert stored.shape == (50, 6)
    distances = (stored[:, None] - features[None]).norm(dim=2)  # [50, 120]
    assert distances.min(1).values.max() < 0.01
    assert len(stored.unique(dim=0)) == 50
    assert (distances.argmin(1).diff() < 0).any()  # in random order


def test_training_again_from_its_checkpoint_gives_the_same_files(trained):
    folder, path = trained
    before = {name: (path.parent / name).read_bytes() for name in ("tiny.safetensors", "tiny_reference.safetensors")}
    ExtractorTraining.train(folder / "tiny.yaml", folder, path.parent, quiet=True)
    assert all((path.parent / name).read_bytes() == content for name, content in before.items())


def test_a_residual_network_trains_on_mirrored_images_too_and_loads(trained, tmp_path):
    folder, _ = trained
    recipe = yaml.safe_load((folder / "tiny.yaml").read_text())
    recipe["data"]["flip"] = True
    recipe["extractor"]["network"] |= {"blocks": 1}
    (tmp_path / "residual.yaml").write_text(yaml.safe_dump(recipe))
    extractor = load_extractor(ExtractorTraining.train(tmp_path / "residual.yaml", folder, tmp_path / "out", quiet=True))
    assert sum(isinstance(m, Residual) for m in extractor.network.modules()) == 3
    assert extractor.card["network"]["blocks"] == 1
    assert extractor.card["test_accuracy"] > 0.9
    recipe["extractor"]["optimisation"]["steps"] = 2
    weights = set()
    for flip in (True, False):
        recipe["data"]["flip"] = flip
        (tmp_path / "residual.yaml").write_text(yaml.safe_dump(recipe))
        ExtractorTraining.train(tmp_path / "residual.yaml", folder, tmp_path / f"{flip}", quiet=True)
        weights.add((tmp_path / f"{flip}" / "tiny.safetensors").read_bytes())
    assert len(weights) == 2


def test_a_card_that_does_not_tell_of_residual_blocks_has_none(mnist):
    assert mnist.network.config.values() == mnist.card["network"] | {"blocks": 0}


def test_the_shipped_recipe_is_that_of_the_shipped_extractor(mnist):
    recipe = read_recipe("mnist32").values
    assert {k: recipe[k] for k in ("data", "extractor")} == mnist.card["recipe"]


def test_extract_in_chunks_equals_one_pass():
    network = Classifier(ClassifierConfig(channels=1, image_size=8, classes=3, widths=(8, 8, 8, 8), features=4)).eval()
    images = torch.randint(0, 256, (1001, 1, 8, 8), dtype=torch.uint8)
    with torch.no_grad():
        features, logits = network(images.float() / 127.5 - 1)
    got = extract(network, images)
    torch.testing.assert_close(got[0], features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got[1], logits, rtol=1e-4, atol=1e-5)
