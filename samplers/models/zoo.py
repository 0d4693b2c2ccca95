"""Cards of trained networks: those that ship, and those that a user's trainings wrote."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, ConfigDict

from samplers.documents import Document
from samplers.errors import UserError, clipped, one_line, unknown
from samplers.files import read_json
from samplers.settings import Settings

ZOO = Path(__file__).parents[1] / "zoo"


def _file_name(value: str) -> str:
    if not value.isprintable() or not 0 < len(value) <= 200 or value in (".", "..") or "/" in value or "\\" in value:
        raise ValueError(f"must be the name of a file beside the card, not {clipped(value)}")
    return value


FileName = Annotated[str, AfterValidator(_file_name)]


class CardPart(Settings):
    """Some keys of a card, which may have others."""

    model_config = ConfigDict(extra="ignore")


class _WeightsPart(CardPart):
    weights: FileName


Part = TypeVar("Part", bound=CardPart)


@dataclass(frozen=True)
class ZooEntry:
    """A card in the zoo (or beside any weights): its path and content, of which nothing but the kind is checked."""

    path: Path
    card: dict[str, Any]

    def read(self, part: type[Part]) -> Part:
        """Some of its keys, typed.

        Raises:
            UserError: one of them lacks or is no such thing; names the card.
        """
        return part.of(Document(self.card, str(self.path)))

    @property
    def weights(self) -> Path:
        """The file of its weights, beside it."""
        return self.path.parent / self.read(_WeightsPart).weights


_trained: list[Path] = []
"""Folders of `add_zoo`."""


def add_zoo(folder: Path) -> None:
    """Find cards in `folder`, and in the folders right in it, before those that ship: a user's own trainings.

    Raises:
        UserError: no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder} to find cards in; name one that 'bench train' wrote")
    _trained.append(folder.resolve())


def added_zoos() -> list[Path]:
    """Folders of `add_zoo`, so that another process can add them too."""
    return list(_trained)


def zoo(kind: str, folder: Path = ZOO) -> dict[str, ZooEntry]:
    """Name -> card of what is in a folder, of one kind ("teacher", "extractor", ...); by default what ships.

    Raises:
        UserError: a card that cannot be read.
    """
    entries = {}
    for path in sorted(folder.glob("*.json")):
        card = read_json(path, "card", "put it back or remove it")
        if card.get("kind") == kind:
            entries[path.stem] = ZooEntry(path, card)
    return entries


def known_cards(kind: str, folder: Path = ZOO) -> dict[str, ZooEntry]:
    """As `zoo`, and before it the cards of the folders that `add_zoo` added, which win where names are the same."""
    entries: dict[str, ZooEntry] = {}
    for root in (*(p for f in _trained for p in (f, *sorted(f.glob("*/")))), folder):
        entries = {**entries, **{k: v for k, v in zoo(kind, root).items() if k not in entries}}
    return entries


def find_card(kind: str, name: str | Path, folder: Path = ZOO) -> ZooEntry:
    """The card of a name that ships in `folder` or that `add_zoo` added, or at a path to a card's JSON file.

    Raises:
        UserError: an unknown name, a card that is not JSON, or one of another kind.
    """
    shipped = known_cards(kind, folder)
    if str(name) in shipped:
        return shipped[str(name)]
    path = Path(name)
    if path.suffix != ".json":
        raise unknown(kind, str(name), shipped)
    card = read_json(path, "card", f"name a card's .json file or one of {sorted(shipped)}")
    if card.get("kind") != kind:
        raise UserError(f"{path} is the card of a {one_line(card.get('kind'))}, not of a {kind}")
    return ZooEntry(path, card)
