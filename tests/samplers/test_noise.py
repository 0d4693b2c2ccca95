"""An image is a function of its seed and index: not of the batch, and for stochastic samplers neither."""

import numpy as np
import pytest
import torch

import samplers
from samplers import FreshNoise, noise

SHAPE = (1, 8, 8)
# Trained students bring a teacher of their own; their packages test them.
NAMES = [n for n in samplers.names() if not samplers.card(n).training]
SPECS = [*NAMES, "ddim:eta=0.5"]


def images(spec: str, teacher, indices: range, steps: int = 10, labels: bool = True) -> torch.Tensor:
    z = noise(11, indices, SHAPE)
    classes = torch.tensor([i % teacher.num_classes for i in indices]) if labels else None
    return samplers.get(spec).sample(teacher, z, steps=steps, labels=classes)


@pytest.mark.parametrize("spec", SPECS)
def test_image_is_the_same_in_batches_of_1_7_and_64(spec, small_teacher):
    whole = images(spec, small_teacher, range(64))
    assert torch.isfinite(whole).all()
    assert float(whole.std()) > 0.05  # else a teacher that predicts nothing would pass
    for indices in (range(7), range(50, 57), range(1), range(9, 10), range(63, 64)):
        torch.testing.assert_close(images(spec, small_teacher, indices), whole[indices.start : indices.stop], rtol=0, atol=1e-5)


@pytest.mark.parametrize("spec", SPECS)
def test_image_repeats_and_leaves_the_global_generator_alone(spec, small_teacher):
    torch.manual_seed(1)
    first = images(spec, small_teacher, range(2))
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(images(spec, small_teacher, range(2)), first)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("spec", SPECS)
def test_labels_reach_the_network(spec, small_teacher):
    assert not torch.allclose(
        images(spec, small_teacher, range(2)), images(spec, small_teacher, range(2), labels=False), atol=1e-4
    )


@pytest.mark.parametrize("spec", ["ddpm", "ddim:eta=0.5"])
def test_stochastic_sampler_adds_noise(spec, small_teacher):
    z = noise(0, range(2), SHAPE)
    assert not torch.allclose(
        samplers.get(spec).sample(small_teacher, z, steps=5), samplers.get("ddim").sample(small_teacher, z, steps=5)
    )


def test_noise_does_not_depend_on_the_batch():
    whole = noise(5, range(20), (3, 4, 4))
    assert torch.equal(noise(5, [13], (3, 4, 4))[0], whole[13])
    assert torch.equal(noise(5, [19, 2], (3, 4, 4)), whole[[19, 2]])


def test_noise_differs_between_seeds_and_images():
    z = torch.cat([noise(s, range(50), (1, 4, 4)) for s in (0, 1, 2**63)]).flatten(1)
    assert len(torch.unique(z, dim=0)) == 150


def test_seed_and_index_do_not_stand_in_for_each_other():
    assert not torch.equal(noise(1, [2], (1, 4, 4)), noise(2, [1], (1, 4, 4)))


def test_noise_is_standard_normal():
    z = noise(0, range(400), (1, 16, 16), dtype=torch.float64).flatten(1)
    n = z.numel()
    assert abs(float(z.mean())) < 5 / n**0.5
    assert abs(float(z.var()) - 1) < 5 * (2 / n) ** 0.5
    assert abs(float((z**4).mean()) - 3) < 5 * (96 / n) ** 0.5
    correlation = np.corrcoef(z.numpy())[np.triu_indices(400, 1)]
    assert np.abs(correlation).max() < 6 / 256**0.5


def test_noise_is_fixed_for_good():
    """The first numbers of image 0 of seed 0: records of different versions compare images, so these never change."""
    expected = torch.tensor(
        [0.15929546600623282, -1.7741885208017214, 1.3265118818830892, 1.2048090979493156], dtype=torch.float64
    )
    torch.testing.assert_close(noise(0, [0], (1, 2, 2), dtype=torch.float64).flatten(), expected, rtol=0, atol=1e-12)


def test_dtype_is_a_cast_of_the_same_numbers():
    double = noise(3, range(3), (1, 4, 4), dtype=torch.float64)
    assert noise(3, range(3), (1, 4, 4)).dtype == torch.float32
    assert torch.equal(noise(3, range(3), (1, 4, 4)), double.float())


def test_float64_runs_through(small_teacher):
    """Dtype follows the noise: a float64 run is close to the float32 one, stochastic samplers' fresh noise included."""
    import copy

    double = copy.deepcopy(small_teacher).double()
    z = noise(0, range(3), SHAPE, dtype=torch.float64)
    for spec in ("ddpm", "dpmpp_2m"):
        out = samplers.get(spec).sample(double, z, steps=4)
        assert out.dtype == torch.float64
        torch.testing.assert_close(
            samplers.get(spec).sample(small_teacher, z.float(), steps=4).double(), out, rtol=0, atol=1e-4
        )


def test_fresh_noise_differs_from_the_start_and_between_steps():
    start = noise(0, range(30), (1, 4, 4), dtype=torch.float64)
    fresh = FreshNoise(start)
    all_rows = torch.cat([start, fresh(0), fresh(1), fresh(200)]).flatten(1)
    assert len(torch.unique(all_rows, dim=0)) == 120
    rows = np.corrcoef(all_rows.numpy())[np.triu_indices(120, 1)]
    assert np.abs(rows).max() < 0.995  # 16 numbers a row: chance correlations are large, equal streams would give 1


def test_fresh_noise_is_a_function_of_image_and_step():
    start = noise(0, range(6), (1, 4, 4))
    assert torch.equal(FreshNoise(start)(3)[2:4], FreshNoise(start[2:4])(3))
    assert torch.equal(FreshNoise(start)(3), FreshNoise(start)(3))


def test_fresh_noise_follows_dtype_and_agrees_between_dtypes():
    start = noise(0, range(4), (1, 4, 4), dtype=torch.float64)
    assert FreshNoise(start)(0).dtype == torch.float64
    assert torch.equal(FreshNoise(start)(0).float(), FreshNoise(start.float())(0))


def test_fresh_noise_is_standard_normal():
    z = FreshNoise(noise(0, range(200), (1, 16, 16)))(0).double()
    assert abs(float(z.mean())) < 5 / z.numel() ** 0.5
    assert abs(float(z.var()) - 1) < 5 * (2 / z.numel()) ** 0.5


def test_labels_belong_to_the_image_too():
    assert samplers.labels([0, 4, 5, 13], 5).tolist() == [0, 4, 0, 3]
    assert samplers.labels(range(3), 2).dtype == torch.int64
    assert samplers.labels(range(3), 0) is None
