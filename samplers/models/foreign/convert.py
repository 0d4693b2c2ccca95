"""A checkpoint of another code as safetensors with a card: after that its own file is not needed."""

from pathlib import Path

from samplers.errors import UserError, unknown
from samplers.models.foreign import adm, edm
from samplers.models.foreign.teacher import save

READERS = {"edm": edm.read, "adm": adm.read_adm, "cm": adm.read_cm}
"""KIND of `--teacher KIND:FILE` -> what reads its file."""


def convert(checkpoint: str, out: Path) -> Path:
    """Write `KIND:FILE` as OUT.safetensors with its card OUT.json, which is a teacher by its path; returns the card's.

    Raises:
        UserError: an unknown kind, a file that cannot be read as one, or one that cannot be written.
    """
    kind, _, file = checkpoint.partition(":")
    if kind not in READERS:
        raise UserError(f"{unknown('kind of checkpoint', kind, READERS)}; write KIND:FILE")
    return save(READERS[kind](Path(file)), out, Path(file).name)
