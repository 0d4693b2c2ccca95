"""The samplers `progressive`, `consistency` and `consistency_training`: what they compute, and from how many calls."""

import pytest
import torch
from small import LABELS, LADDER, MAPPERS, relative, start_of

import samplers
import samplers.distilled.sampling
from bench.instruments.clock import Clock
from bench.instruments.meter import Meter
from samplers import UserError, sigmas
from samplers.distilled.consistency import ConsistencyFunction
from samplers.distilled.loading import load_student
from samplers.models.zoo import find_card
from samplers.schedule import GRIDS


def student_of(folder, method: str, steps: int | None = None):
    return load_student(find_card("student", folder / (f"{method}.json" if steps is None else f"{method}-{steps}.json")))


def told_by(sampler, teacher, z, **options) -> list[tuple]:
    rows = []
    options = {"labels": LABELS[: len(z)]} | options
    sampler.sample(teacher, z, callback=lambda *row: rows.append(row), **options)
    return rows


# What they compute


@pytest.mark.parametrize(
    ("method", "steps"), [*(("progressive", n) for n in LADDER), *((m, n) for m in MAPPERS for n in (1, 2, 4))]
)
def test_calls_are_those_of_the_card(made, teacher, method, steps):
    """Counted, the teacher's too: it is never called."""
    meter, sampler = Meter(teacher, Clock(torch.device("cpu"))), samplers.get(f"{method}:student={made}")
    sampler.prepare(meter, "cpu", steps)
    with meter.watching(sampler), torch.no_grad():
        sampler.sample(meter, start_of(teacher), steps=steps, labels=LABELS)
    assert (meter.count.calls, meter.count.forwards) == (samplers.card(method).calls(steps), 3 * steps)
    assert meter.count.calls == steps


@pytest.mark.parametrize("steps", LADDER)
def test_progressive_is_ddim_of_its_students_network(made, teacher, steps):
    z = start_of(teacher)
    images = samplers.get(f"progressive:student={made}").sample(teacher, z, steps=steps, labels=LABELS)
    student = student_of(made, "progressive", steps)
    assert torch.equal(images, samplers.get("ddim").sample(student, z, steps=steps, labels=LABELS))
    assert relative(images, samplers.get("ddim").sample(teacher, z, steps=steps, labels=LABELS)) > 0.01


@pytest.mark.parametrize("method", MAPPERS)
def test_one_call_is_f_of_the_noise(made, teacher, monkeypatch, method):
    """f(sigma_max z, sigma_max), a function of the noise alone: no more is drawn."""
    monkeypatch.setattr(samplers.distilled.sampling, "FreshNoise", lambda z: pytest.fail("drew noise"))
    z, sampler = start_of(teacher), samplers.get(f"{method}:student={made}")
    images = sampler.sample(teacher, z, steps=1, labels=LABELS)
    assert torch.equal(images, sampler.sample(teacher, z, steps=1, labels=LABELS))
    high = teacher.schedule.sigma(1.0)
    assert torch.equal(images, ConsistencyFunction(student_of(made, method))(high * z, high, LABELS))
    assert torch.equal(images, samplers.get(f"{method}:student={made}").sample(teacher, z, steps=1, labels=LABELS))


@pytest.mark.parametrize("method", MAPPERS)
@pytest.mark.parametrize("steps", [2, 4])
def test_more_calls_renoise_the_image(made, teacher, method, steps):
    """Each f maps what the step before left, and the last is the image."""
    z, f = start_of(teacher), ConsistencyFunction(student_of(made, method))
    sampler = samplers.get(f"{method}:student={made}")
    rows, x, s = told_by(sampler, teacher, z, steps=steps), 80.0 * z, 80.0
    for i, (k, t, after, image) in enumerate(rows):
        assert k == i
        assert relative(image, f(x, s, LABELS)) < 1e-5
        x, s = after, t
    assert torch.equal(rows[-1][2], rows[-1][3])
    assert torch.equal(rows[-1][3], sampler.sample(teacher, z, steps=steps, labels=LABELS))


def test_renoising_has_the_levels_variance(made, teacher):
    """The image has sigma_min's noise, so sqrt(t^2 - sigma_min^2) more makes t; of each step's own, and not the start's."""
    z = start_of(teacher, 64)
    rows = told_by(samplers.get(f"consistency:student={made}"), teacher, z, steps=4, labels=torch.arange(64) % 5)
    added = [(x - image).flatten().double() for _, _, x, image in rows[:-1]]
    for noise, (_, t, _, _) in zip(added, rows, strict=False):
        assert float(noise.square().mean()) == pytest.approx(t * t - 0.002**2, rel=0.06)
        assert abs(float(noise.mean())) < 0.06 * t
    together = torch.corrcoef(torch.stack([*added, z.flatten().double()]))
    assert float((together - torch.eye(4)).abs().max()) < 0.06


@pytest.mark.parametrize("grid", GRIDS)
def test_consistency_on_every_grid(made, teacher, grid):
    """Its first level is sigma_max, its last before 0 the end, 1 by default, and refused where the student has none."""
    for end, option in ((1.0, ""), (0.4, ":end=0.4")):
        sampler = samplers.get(f"consistency:student={made}:grid={grid}{option}")
        rows = told_by(sampler, teacher, start_of(teacher), steps=3)
        assert [t for _, t, _, _ in rows] == sigmas(teacher.schedule, 3, grid, end=end)[1:]
        assert rows[1][1] == end
    with pytest.raises(UserError, match=r"no walk ends at sigma 90 here; give an end from 0\.002 to below 80"):
        samplers.get(f"consistency:student={made}:grid={grid}:end=90").prepare(teacher, "cpu", 1)


@pytest.mark.parametrize(("method", "steps"), [("progressive", 4), ("consistency", 1), ("consistency", 4)])
def test_callback_is_told_of_every_step(made, teacher, method, steps):
    rows = told_by(samplers.get(f"{method}:student={made}"), teacher, start_of(teacher), steps=steps)
    assert [i for i, *_ in rows] == list(range(steps))
    own = {"grid": "uniform_t"} if method == "progressive" else {"grid": "logsnr", "end": 1.0}
    assert [t for _, t, _, _ in rows] == sigmas(teacher.schedule, steps, **own)[1:]
    assert rows[-1][1] == 0
    assert all(x.shape == image.shape == (3, 1, 8, 8) for _, _, x, image in rows)


@pytest.mark.parametrize(("method", "steps"), [("progressive", 4), ("consistency", 1), ("consistency", 4)])
def test_images_do_not_depend_on_the_batch(made, teacher, method, steps):
    sampler, labels = samplers.get(f"{method}:student={made}"), torch.tensor([0, 2, 1, -1, 4, 3, 2])
    together = sampler.sample(teacher, start_of(teacher, 7), steps=steps, labels=labels)
    assert torch.equal(sampler.sample(teacher, start_of(teacher, 7), steps=steps, labels=labels), together)
    for i in range(7):
        alone = sampler.sample(teacher, start_of(teacher, 7)[i : i + 1], steps=steps, labels=labels[i : i + 1])
        assert relative(alone, together[i : i + 1]) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("method", "steps"), [("progressive", 2), ("consistency", 1), ("consistency", 2)])
def test_images_follow_the_noise(made, teacher, method, steps, dtype):
    """Whatever the network's own dtype, as with dsno."""
    sampler, z = samplers.get(f"{method}:student={made}"), start_of(teacher)
    images = sampler.sample(teacher, z.to(dtype), steps=steps, labels=LABELS)
    assert images.dtype == dtype
    assert {row[2].dtype for row in told_by(sampler, teacher, z.to(dtype), steps=steps)} == {dtype}
    if dtype == torch.float64:
        assert relative(images, sampler.sample(teacher, z, steps=steps, labels=LABELS)) < 1e-4


def test_which_runs_draw_noise():
    assert not any(samplers.card("progressive").draws_noise(n) for n in LADDER)
    for method in MAPPERS:
        assert [samplers.card(method).draws_noise(n) for n in (1, 2, 3)] == [False, True, True]
    assert samplers.card("ddpm").draws_noise(2)
    assert not samplers.card("ddim").draws_noise(2)
