"""Prompts, as a user gives them."""

import os
from pathlib import Path

from samplers.errors import UserError, one_line


def read_prompts(told: str | None, most: int | None = None) -> list[str]:
    """The first `most` prompts of FILE, a line each, without empty lines; or TEXT, which is one; [] of None.

    Raises:
        UserError: a file that is not there or cannot be read, or no prompt.
    """
    if told is None:
        return []
    if os.path.isfile(told):
        try:
            lines = Path(told).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as e:
            raise UserError(f"prompts {one_line(told)} cannot be read ({one_line(e)}); write text, a prompt a line") from e
    elif told.endswith(".txt"):
        raise UserError(f"prompts {one_line(told)}: no such file; check the path")
    else:
        lines = [" ".join(told.split())]
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise UserError(f"prompts '{one_line(told)}' are none; write a prompt, or a file with a prompt a line")
    return found[:most]
