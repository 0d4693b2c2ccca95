"""Where a model's files are: a folder, or a repository of the hub, fetched into the user's cache; nothing in it is run."""

import hashlib
import importlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from samplers.errors import UserError, one_line
from samplers.files import read_json

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
WEIGHTS = (".safetensors", ".bin")
"""Endings of weights, the first that a folder has being read: a `.bin` is a pickle, of which only tensors are read."""
VARIANT = re.compile(r"\.(fp16|bf16|non_ema|fp8\w*)[.-]")
"""In the names of weights that diffusers reads only where it is asked for a variant."""


@dataclass
class Source:
    """The files of a model.

    Attributes:
        name: what records call it, the folder's own or the repository's.
        root: the folder.
        index: of `model_index.json`; {} where there is none.
        read: paths of the files that what was loaded depends on.
        told: options that change what it computes.
        fetch: brings files of some patterns into the folder, from the hub; nothing of a folder that the user gave.
    """

    name: str
    root: Path
    index: dict[str, Any]
    read: list[Path] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    fetch: Callable[[list[str]], object] = lambda patterns: None

    def folder(self, part: str) -> Path:
        """The folder of a part, the root in old repositories, which are flat."""
        return self.root / part if (self.root / part).is_dir() else self.root

    def settings(self, part: str, file: str = "config.json") -> dict[str, Any]:
        """The JSON object that tells of a part.

        Raises:
            UserError: it is not there, or no JSON object.
        """
        path = self.folder(part) / file
        if not path.exists():
            path = self.root / part / file  # where it should be
        found = read_json(path, f"{part}'s settings", f"save the whole pipeline with save_pretrained, or put {file} there")
        self.read.append(path)
        return found

    def weights(self, part: str) -> Path:
        """The folder of a part's weights, which are there then, and are part of the `sha256`.

        Raises:
            UserError: there are none; of the hub, none that can be fetched.
        """
        folder = self.folder(part)
        sub = "" if folder == self.root else f"{part}/"
        for ending in WEIGHTS:
            self.fetch([f"{sub}*{ending}"])
            if found := sorted(p for p in folder.glob(f"*{ending}") if not VARIANT.search(p.name)):
                self.read += found
                return folder
        variants = sorted(p.name for p in folder.glob("*") if p.suffix in WEIGHTS and VARIANT.search(p.name))
        but = f" but the variant {one_line(variants[0], 80)}, which is not read" if variants else ""
        raise UserError(
            f"no weights of the {part} (.safetensors or .bin) in {folder}{but}; save it with save_pretrained, or fetch them"
        )

    def sha256(self) -> str:
        """Of all that was read and told: weights, settings, options; so what another makes is never taken for this one's."""
        whole = hashlib.sha256()
        for path in self.read:
            with open(path, "rb") as f:
                whole.update(hashlib.file_digest(f, "sha256").digest())
        for option in self.told:
            whole.update(option.encode())
        return whole.hexdigest()


def find(text: str) -> Source:
    """The model at a path, or of a repository's id.

    Raises:
        UserError: neither; or the hub cannot be reached, has no such repository, or does not give it to everybody.
    """
    path = Path(text)
    if path.is_dir():
        return Source(path.resolve().name, path, _index(path))
    if not REPOSITORY.fullmatch(text):
        raise UserError(f"diffusers:{one_line(text)}: no such folder, and no id of the hub (OWNER/NAME); check the path")

    def fetch(patterns: Iterable[str]) -> Path:
        return _fetched(text, list(patterns))

    root = fetch(["*.json", "*/*.json"])
    return Source(text, root, _index(root), fetch=fetch)


def library(name: str, extra: str) -> ModuleType:
    """An optional package.

    Raises:
        UserError: it is not installed, or does not import; says how to get it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as e:
        raise UserError(f"{name} is not installed ({one_line(e)}); pip install {extra}") from e
    except Exception as e:
        raise UserError(f"{name} does not import ({type(e).__name__}: {one_line(e)}); pip install -U {extra}") from e


def _index(root: Path) -> dict[str, Any]:
    path = root / "model_index.json"
    return read_json(path, "model's index", "fetch the file again") if path.exists() else {}


def _fetched(repository: str, patterns: list[str]) -> Path:
    """The folder in the hub's cache that has a repository's files of some patterns, without variants of weights."""
    hub = library("huggingface_hub", "'sampler-bench[diffusers]'")
    from huggingface_hub import errors

    unwanted = ["*.fp16.*", "*.bf16.*", "*non_ema*", "*.fp8*"]
    here = f"'hf download {repository}' where there is a network, or copy the repository's folder and name its path"
    try:
        return Path(hub.snapshot_download(repository, allow_patterns=patterns, ignore_patterns=unwanted))
    except errors.GatedRepoError as e:
        raise UserError(f"{repository} is gated; accept its terms on the hub and log in with 'hf auth login'") from e
    except errors.RepositoryNotFoundError as e:
        raise UserError(f"the hub has no repository {repository}, or it is private; check the id, or 'hf auth login'") from e
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, OSError) as e:
        raise UserError(f"{repository} is not in the hub's cache and cannot be fetched ({type(e).__name__}); run {here}") from e
    except Exception as e:  # of the client, whose kinds change
        raise UserError(f"{repository} cannot be fetched ({type(e).__name__}: {one_line(e)}); run {here}") from e
