"""Images of a run as other programs read them: folders in EDM's layout, and npz files as guided-diffusion writes them."""

import io
import json
import os
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from samplers.errors import UserError
from samplers.files import write_whole


def write_folder(folder: Path, batches: Iterable[np.ndarray], labels: np.ndarray | None) -> None:
    """Write images uint8 [B, C, H, W], C 1 or 3, as PNG files in EDM's layout: 00000/img00000000.png, .., and dataset.json.

    Args:
        folder: made if needed.
        batches: the images, in order.
        labels: their classes [N], or None.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    names: list[str] = []
    for batch in batches:
        for image in batch:
            number = f"{len(names):08d}"
            names.append(f"{number[:5]}/img{number}.png")
            buffer = io.BytesIO()
            Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(buffer, "PNG")
            write_whole(folder / names[-1], buffer.getvalue(), durable=False)
    listed = None if labels is None else [[name, int(label)] for name, label in zip(names, labels, strict=True)]
    write_whole(folder / "dataset.json", json.dumps({"labels": listed}).encode())


def write_npz(path: Path, batches: Iterable[np.ndarray], n: int, labels: np.ndarray | None) -> None:
    """Write images uint8 [B, C, H, W] as `arr_0` [N, H, W, C], and their classes [N] as `arr_1`; not all are in memory.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(partial, "w") as archive:
            with archive.open("arr_0.npy", "w", force_zip64=True) as f:
                for k, batch in enumerate(batches):
                    pixels = batch.transpose(0, 2, 3, 1)
                    if not k:
                        header = {"descr": "|u1", "fortran_order": False, "shape": (n, *pixels.shape[1:])}
                        np.lib.format.write_array_header_1_0(f, header)
                    f.write(pixels.tobytes())
            if labels is not None:
                with archive.open("arr_1.npy", "w") as f:
                    np.lib.format.write_array(f, labels.astype(np.int64))
        os.replace(partial, path)
    except OSError as e:
        with suppress(OSError):
            partial.unlink()
        raise UserError(f"cannot write {path} ({e.strerror}); free some space or choose another --out") from e
