import sys
from types import SimpleNamespace

import pytest
import torch

from bench.machine.nvml import Nvml, nvml

GPU = torch.device("cuda", 0)


class NvmlError(Exception):
    """What the library raises."""


def refuse(*_) -> None:
    raise NvmlError("not supported")


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch):
    """A driver that answers, with one card; nothing found by another test is remembered."""
    found = SimpleNamespace(
        NVMLError=NvmlError, nvmlInit=lambda: None, nvmlDeviceGetHandleByUUID=lambda uuid: f"handle of {uuid}"
    )
    monkeypatch.setitem(sys.modules, "pynvml", found)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1234-ab"))
    nvml.cache_clear()
    yield found
    nvml.cache_clear()


def test_a_device_is_found_by_its_uuid(library):
    assert nvml(GPU) == Nvml(library, "handle of GPU-1234-ab")


def test_without_driver_card_or_package_there_is_none(library, monkeypatch: pytest.MonkeyPatch):
    library.nvmlDeviceGetHandleByUUID = refuse
    assert nvml(GPU) is None
    nvml.cache_clear()
    library.nvmlInit = refuse
    assert nvml(GPU) is None
    nvml.cache_clear()
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert nvml(GPU) is None


def test_what_a_card_does_not_answer_is_none():
    one = Nvml(SimpleNamespace(NVMLError=NvmlError, speak=lambda *args: args, refuse=refuse), "card")
    assert one.ask("speak", 3) == ("card", 3)
    assert one.ask("refuse") is None
    assert one.ask("not in this version") is None
