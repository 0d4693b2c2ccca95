from types import SimpleNamespace

import pytest
import torch

from bench.machine.environment import differences, fingerprint


def test_a_process_is_of_one_cohort_with_itself():
    assert differences(fingerprint(), fingerprint()) == []


@pytest.mark.parametrize(
    ("key", "what", "value"),
    [
        ("cpu", "bench.machine.environment.cpu_name", lambda: "another"),
        ("cores", "os.cpu_count", lambda: 4711),
        ("memory_gib", "psutil.virtual_memory", lambda: SimpleNamespace(total=2**60)),
        ("machine", "platform.machine", lambda: "vax"),
        ("torch", "torch.__version__", "9.9"),
        ("python", "platform.python_version_tuple", lambda: ("3", "99", "0")),
        ("threads", "torch.get_num_threads", lambda: 4711),
    ],
)
def test_each_thing_that_times_depend_on_makes_another_cohort(key, what, value, monkeypatch):
    before = fingerprint()
    monkeypatch.setattr(what, value)
    assert differences(before, fingerprint()) == [key]


def test_a_gpu_makes_another_cohort(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = fingerprint()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"H{i}")
    assert fingerprint()["gpu"] == "H0, H1"
    assert differences(before, fingerprint()) == ["gpu"]


def test_what_differs_between_like_machines_does_not_count(monkeypatch):
    memory = SimpleNamespace(total=15.68 * 2**30)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    before = fingerprint()
    memory.total = 15.58 * 2**30
    monkeypatch.setattr("platform.python_version_tuple", lambda: (*before["python"].split("."), "99"))
    assert before["memory_gib"] == 16
    assert differences(before, fingerprint()) == []


def test_a_key_that_only_one_has_is_a_difference():
    assert differences({"a": 1, "gpu": None}, {"a": 1}) == ["gpu"]
