"""NVIDIA's management library, where the package nvidia-ml-py is installed and the driver answers."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch

REASONS = {
    0x01: "idle",
    0x02: "clocks set by an application",
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x10: "synchronised with another card",
    0x20: "heat (software)",
    0x40: "heat (hardware)",
    0x80: "power brake",
    0x100: "display clocks",
}
"""Bits of nvmlDeviceGetCurrentClocksThrottleReasons: why a GPU does not run at its highest clock."""


class Nvml(NamedTuple):
    """The library's module and its handle of one GPU."""

    library: Any
    handle: Any

    def ask(self, name: str, *args: Any) -> Any:
        """What the library's function `name` says of the GPU; None where this card or driver does not answer it."""
        function: Callable[..., Any] | None = getattr(self.library, name, None)
        try:
            return function(self.handle, *args) if function else None
        except self.library.NVMLError:
            return None


@cache
def nvml(device: torch.device) -> Nvml | None:
    """NVML of a CUDA device, by its UUID, since CUDA_VISIBLE_DEVICES renumbers; None where it cannot be had."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(device).uuid
        return Nvml(pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}"))
    except pynvml.NVMLError:
        return None
