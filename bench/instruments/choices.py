"""How a sampler may be run, by name. Loads no torch: settings and the command line's help are made of it."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator

Mode = Literal["eager", "compile", "graph"]
"""Plainly; with torch.compile of the networks; as a CUDA graph of the whole trajectory. See `bench.instruments.modes`."""
Precision = Literal["fp32", "bf16"]
"""Of the networks; bf16 by autocast."""
MODES: tuple[Mode, ...] = get_args(Mode)


def _threads(value: Any) -> Any:
    """None for auto, and the number that a word is."""
    return None if value == "auto" else int(value) if isinstance(value, str) and value.isdecimal() else value


Threads = Annotated[int | None, BeforeValidator(_threads, json_schema_input_type=int | Literal["auto"] | None)]
"""CPU threads: 0 for all cores, None (auto) by a short measurement."""
