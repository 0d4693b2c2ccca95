"""What of a study's stages goes home: parts that fit a narrow way, and what waits for a later call."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.studies import parts as parcels
from bench.studies.parts import MIB, Item, Parcel
from samplers.training.checkpoint import NAME, slim

PART, PARCEL, FILES = 16 * MIB, 64 * MIB, 8
"""The way home: bytes of a part, bytes of all that is written at once, and files, the table of contents among them."""
SLIM = ".slim"


@dataclass(frozen=True)
class Load:
    """A parcel that fits the way, the stages whose results are whole in it, and what was left out."""

    parcel: Parcel
    travels: list[str]
    left_out: list[str]


def load(finished: Mapping[str, list[Item]], begun: Mapping[str, list[Item]], held: Iterable[str]) -> Load:
    """The finished stages, then how far the others are, as far as that fits.

    Args:
        finished, begun: the files of each stage.
        held: SHA-256 of parts that are at home.
    """
    travels, left_out, begun, held = list(finished), list[str](), dict(begun), set(held)
    while not _fits(
        parcel := parcels.pack([i for s in (*(finished[t] for t in travels), *begun.values()) for i in s], PART), held
    ):
        if begun:
            stage = max(begun, key=lambda s: sum(i.source.stat().st_size for i in begun[s]))
            checkpoints = [i for i in begun[stage] if i.path.endswith(SLIM)]
            # Without its checkpoint a stage begins again, a ladder at its last rung; less than that is of no use.
            begun[stage] = [i for i in begun[stage] if i not in checkpoints]
            if not checkpoints:
                del begun[stage]
            left_out += [i.path for i in checkpoints] or [stage]
        else:  # it goes when what is written now is at home
            left_out.append(travels.pop())
    return Load(parcel, travels, left_out)


def _fits(parcel: Parcel, held: set[str]) -> bool:
    written = [p for p in parcel.parts if p.sha256 not in held]
    return parcel.size(held) <= PARCEL and len(written) + 1 <= FILES


def items_of(out: Path, folder: Path, finished: bool, wanted: Iterable[int]) -> list[Item]:
    """The files of a training that go home, of one that goes on with slim checkpoints.

    Args:
        out: of the study; paths are told from there.
        folder: of the training.
        finished: whether it is done.
        wanted: of a ladder of students, whose cards end in their steps: those whose weights go home, besides the last's.
    """
    rungs = _rungs(folder)
    going = {str(n) for n in wanted} | set(rungs[-1:])
    found = [p for p in sorted(folder.rglob("*")) if p.is_file() and _goes(p, rungs, going)]
    if finished:  # of a search its scores do, with the cards
        found = [p for p in found if not (p.suffix == ".safetensors" and "search" in p.relative_to(folder).parts)]
    rows = [p for p in found if p.name != NAME]
    training = [] if finished else [p for p in found if p.name == NAME and p.parent.name not in rungs]
    for p in training:
        slim(p, p.with_name(NAME + SLIM))
    return [Item(p.relative_to(out).as_posix(), p) for p in (*rows, *(p.with_name(NAME + SLIM) for p in training))]


def _steps(path: Path) -> str:
    return path.stem.rsplit("-", 1)[-1]


def _rungs(folder: Path) -> list[str]:
    """Steps of a ladder's finished students, from its top down."""
    return sorted((s for p in folder.glob("*-*.json") if (s := _steps(p)).isdecimal()), key=int, reverse=True)


def _goes(path: Path, rungs: list[str], going: set[str]) -> bool:
    """Whether a file goes home: not what is made again in seconds, nor the weights of rungs that nobody asks for."""
    if path.name == "held_out.safetensors" or path.suffix in (".partial", SLIM):
        return False
    return path.suffix != ".safetensors" or _steps(path) not in rungs or _steps(path) in going
