"""Each student's pass, noise to image."""

import pytest
import torch

import samplers
from bench.instruments.clock import Clock
from bench.instruments.meter import Meter
from samplers.models.zoo import find_card

TEACHER = "mnist32"
STEPS = (1, 2)
"""Of a student that takes any number of steps."""


def passes() -> list[tuple[str, str, int]]:
    """(sampler, student, steps) of every student of the teacher; a sampler that cannot list its students has none."""
    teacher = find_card("teacher", TEACHER).card["sha256"]
    found = []
    for name in samplers.names():
        list_students = getattr(samplers.get(name), "students", list) if samplers.card(name).training else list
        for entry in list_students():
            if (entry.card.get("teacher") or {}).get("sha256") == teacher:
                steps = (entry.card["steps"],) if "steps" in entry.card else samplers.card(name).steps or STEPS
                found += [(name, entry.path.stem, n) for n in steps]
    return found


@pytest.mark.benchmark(group="student-pass")
@pytest.mark.parametrize(("name", "student", "steps"), passes())
@torch.no_grad()
def test_student_pass(benchmark, teacher, name, student, steps):
    sampler, z = samplers.get(f"{name}:student={student}"), samplers.noise(0, range(1), teacher.shape)
    sampler.prepare(teacher, "cpu", steps)
    labels = None if sampler.student.labels == "none" else torch.zeros(1, dtype=torch.int64)
    with Meter(teacher, Clock(torch.device("cpu"))).watching(sampler) as meter:
        sampler.sample(meter, z, steps=steps, labels=labels)
    benchmark.extra_info.update(steps=steps, calls=meter.count.calls, forwards=meter.count.forwards, batch=1)
    benchmark.pedantic(lambda: sampler.sample(teacher, z, steps=steps, labels=labels), rounds=30, warmup_rounds=3)
