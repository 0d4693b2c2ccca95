"""A small repository of our packages, to be spoiled."""

import shutil
import subprocess
from pathlib import Path

import samplers

ROOT = Path(samplers.__file__).parents[1]


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", folder, *who, *words], check=True, capture_output=True)


def make_repository(folder: Path) -> Path:
    """Our packages, without the zoos' students but DSNO's, as one commit tagged `good`."""
    skipped = shutil.ignore_patterns("__pycache__", "consistency*.safetensors", "progressive*.safetensors", "kd*.safetensors")
    for package in ("samplers", "dsno"):
        shutil.copytree(ROOT / package, folder / package, ignore=skipped)
    shutil.copy(ROOT / "pyproject.toml", folder)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "good")
    git(folder, "tag", "good")
    return folder


def edit(folder: Path, file: str, old: str, new: str, count: int = -1) -> None:
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))
