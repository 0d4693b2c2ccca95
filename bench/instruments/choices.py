"""How a sampler may be run, by name. Loads no torch: settings and the command line's help are made of it."""

from typing import Literal, get_args

Mode = Literal["eager", "compile", "graph"]
"""Plainly; with torch.compile of the networks; as a CUDA graph of the whole trajectory. See `bench.instruments.modes`."""
Precision = Literal["fp32", "bf16"]
"""Of the networks; bf16 by autocast."""
MODES: tuple[Mode, ...] = get_args(Mode)
