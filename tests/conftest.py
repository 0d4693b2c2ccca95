"""What all tests share: a path that finds our packages, one thread, float32, and a small teacher with random weights."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# SciPy's own threads, which torch does not set: two of them wait for each other by spinning, which beside another process
# takes a hundred times as long. Read when the library is loaded, so before the imports.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import pytest
import torch
from hypothesis import settings
from torch import nn

# pytest puts this folder first on sys.path, where tests/samplers would pass for a namespace package `samplers` and hide the
# editable install, which is asked last. A real package wins over a namespace one, so the root has to be on the path too.
sys.path.insert(0, str(Path(__file__).parent / "support"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from samplers import Cosine, UNetTeacher, plugin
from samplers.models.sizes import UNetConfig
from samplers.models.unet import UNet
from samplers.registry import HELD, entries

settings.register_profile("suite", deadline=None)  # the machine may be shared
settings.load_profile("suite")


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _float32():
    """Train in float32 on every processor: with native bfloat16 a batch and its halves differ by more than the tests allow."""
    with pytest.MonkeyPatch.context() as m:
        m.setattr("samplers.training.precision.has_fast_bf16", lambda device: False)
        yield


@pytest.fixture(autouse=True)
def _files_forgotten() -> Iterator[None]:
    """A test's `--plugin` files and objects are not there for the next."""
    kept = [(there, dict(there)) for there in (HELD, plugin._used)]
    yield
    for there, before in kept:
        there.clear()
        there.update(before)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install a stranger's package the way pip leaves it: a module `stranger_package` and a dist-info with entry points.

    Called with the content of its `entry_points.txt`, its source, and where there are several the module's name.
    """
    installed = []

    def do(entry_points: str, source: str, module: str = "stranger_package") -> None:
        folder = tmp_path / "site" / module
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{module}.py").write_text(source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"{entry_points}\n")
        monkeypatch.syspath_prepend(folder)
        installed.append(module)
        entries.cache_clear()

    yield do
    for module in installed:
        sys.modules.pop(module, None)
    monkeypatch.undo()
    entries.cache_clear()


@pytest.fixture(scope="session")
def small_teacher() -> UNetTeacher:
    """A float32 teacher, 1 x 8 x 8, five classes, random weights everywhere (fresh networks predict 0: zero convolutions)."""
    generator = torch.Generator().manual_seed(0)
    config = UNetConfig(
        channels=1, image_size=8, width=8, multipliers=(1, 2), blocks=1, attention=(4,), embedding=16, classes=5
    )
    network = UNet(config)
    with torch.no_grad():
        for p in network.parameters():
            if p.ndim == 1:
                p.copy_(0.1 * torch.randn(p.shape, generator=generator))
            else:
                p.copy_(torch.randn(p.shape, generator=generator) / p[0].numel() ** 0.5)
        for module in network.modules():
            if isinstance(module, nn.GroupNorm):
                module.weight.add_(1.0)
        network.conv_out.weight.mul_(0.25)  # a tame v: images of about unit size, no chaos that magnifies float32's rounding
    return UNetTeacher(network, "v", Cosine(0.002, 80.0)).eval().requires_grad_(False)
