"""Published weights, fetched once into torch's cache and checked by their hash."""

import contextlib
import sys
from pathlib import Path

import torch

from samplers.errors import UserError, one_line
from samplers.files import sha256


def published(url: str, expected: str, what: str, fix: str) -> Path:
    """The file of a URL in torch's cache of checkpoints, where torch.hub keeps it too; fetched if it is not there.

    Args:
        url: where it is published.
        expected: its SHA-256.
        what: it is, for messages.
        fix: the other way to name it, for messages.

    Raises:
        UserError: it is not there and cannot be fetched, or has another hash.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.redirect_stdout(sys.stderr):
                torch.hub.download_url_to_file(url, str(path), hash_prefix=expected)
        except (OSError, RuntimeError) as e:
            said = f"{what} are not at {path} and cannot be fetched ({one_line(e)}); put {url} there, or name it with {fix}"
            raise UserError(said) from e
    if (found := sha256(path)) != expected:
        raise UserError(f"{path}: SHA-256 is {found[:12]}..., that of {what} {expected[:12]}...; remove it to fetch it again")
    return path
