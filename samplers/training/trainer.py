"""What every training opens and closes with; a trainer writes its recipe, its loss, and what its card says."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from samplers.documents import Document
from samplers.errors import UserError
from samplers.files import read_rows
from samplers.settings import Settings
from samplers.training.cards import write_zoo
from samplers.training.data import ImageSet
from samplers.training.log import LOG
from samplers.training.loop import Target, Trained, fit
from samplers.training.optimisation import Optimisation, normal
from samplers.training.precision import use_all_cores
from samplers.training.recipe import DataSettings, load_split, read_recipe, same_settings
from samplers.world import World

R = TypeVar("R", bound=Settings)


class Trainer(ABC):
    """What `bench train NAME` calls: an entry point of the group `bench.trainers`, with a section of that name in recipes."""

    section: ClassVar[str]
    Recipe: ClassVar[type[Settings]]

    @classmethod
    def section_of(cls, recipe: Document) -> Document:
        """What a recipe says of it."""
        return recipe.section(cls.section)

    @classmethod
    def asked_of(cls, recipe: Document) -> Document:
        """The settings by which it trains: that, and what the rest of the recipe adds to it."""
        return cls.section_of(recipe)

    @classmethod
    def check(cls, recipe: Document) -> None:
        """Refuse a recipe by which it cannot train, as far as the recipe alone tells.

        Raises:
            UserError: a section, a key or a value, with its line.
        """
        cls.Recipe.of(cls.asked_of(recipe))

    @classmethod
    @abstractmethod
    def train(
        cls, recipe: str | Path, data: Path | None, out: Path, *, device: torch.device | str = "cpu", quiet: bool = False
    ) -> Path:
        """Train, or resume; returns the path of what tells what was made.

        Args:
            recipe: a shipped recipe's name, or a YAML file.
            data: folder of what it learns from; None for the usual place.
            out: folder for what it makes.
            device: where to train.
            quiet: no progress bar.

        Raises:
            UserError: bad recipe or data, another training's folder, or NaN in the loss.
            TimeUpError: the time limit around it is over; what was done is kept.
        """


class Training(Trainer, Generic[R]):
    """A training of a network, in one process or, under torchrun, several that share each batch.

    A subclass names its section and the settings of it, says what there is to learn in `loss`, and ends `run` with `finish`.

    Args:
        recipe: its sections.
        data, out, device, quiet: see `Trainer.train`.

    Raises:
        UserError: a bad recipe, or data, teacher or processes that do not fit. Nothing is written then.
    """

    def __init__(
        self, recipe: Document, data: Path | None, out: Path, *, device: torch.device | str = "cpu", quiet: bool = False
    ):
        use_all_cores()
        self.recipe, self.out, self.quiet = recipe, out, quiet
        self.check(recipe)
        self.asked = self.asked_of(recipe)
        self.r: R = self.Recipe.of(self.asked)  # type: ignore[assignment]
        self.where = f"{recipe.origin}: {self.section}"
        self.world = World.join(device)
        self.device = self.world.device
        self.mine = slice(self.world.rank, None, self.world.size)
        """This process's share of a batch."""
        self.folder = data or self.usual_data(recipe, out)

    @classmethod
    def check(cls, recipe: Document) -> None:
        if "data" in cls.kinds():
            DataSettings.of(recipe.section("data"))
        super().check(recipe)

    @classmethod
    def train(
        cls, recipe: str | Path, data: Path | None, out: Path, *, device: torch.device | str = "cpu", quiet: bool = False
    ) -> Path:
        return cls(read_recipe(recipe), data, out, device=device, quiet=quiet).run()

    @classmethod
    def usual_data(cls, recipe: Document, out: Path) -> Path:
        """The folder of what it learns from, where none is named."""
        return Path("data")

    @abstractmethod
    def run(self) -> Path:
        """Train until all is done; returns the path of what was made."""

    @abstractmethod
    def loss(self, network: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        """A scalar on this process's share of a batch, all randomness from `generator`; see `fit`."""

    @abstractmethod
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Scores of the averaged weights."""

    @abstractmethod
    def card(self, trained: Trained) -> dict[str, Any]:
        """What the card says, besides marks, identity, `told` and what every training's says (see `write_zoo`)."""

    def told(self) -> dict[str, Any]:
        """What the card says of how this training came about, which is not what makes it this one."""
        return {}

    @classmethod
    def kinds(cls) -> dict[str, type[Settings]]:
        """The settings of the sections that the identity's recipe has."""
        return {"data": DataSettings, cls.section: cls.Recipe}

    def same(self, key: str, a: Any, b: Any) -> bool:
        """Whether two trainings are the same in one key of their identities."""
        return same_settings(a, b, self.kinds()) if key == "recipe" else a == b

    def images(self, split: str) -> ImageSet:
        """A split of the recipe's images, near the device."""
        return load_split(DataSettings.of(self.recipe.section("data")), split, self.folder).near(self.device)

    def splits(self) -> tuple[ImageSet, ImageSet]:
        """The images to train on and those held out, of one shape and of the classes trained on."""
        train, held_out = self.images("train"), self.images("held_out")
        if train.images.shape[1:] != held_out.images.shape[1:] or held_out.num_classes > train.num_classes:
            told = (f"{list(i.images.shape[1:])} with {i.num_classes} classes" for i in (held_out, train))
            raise UserError(
                f"{self.where}: held-out images are {', those to train on '.join(told)}; name two splits of one set"
            )
        return train, held_out

    def recipe_told(self, own: dict[str, Any] | None = None) -> dict[str, Any]:
        """The recipe as the identity tells it: its data, and this section or `own` in its place."""
        return {"data": dict(self.recipe.section("data").values), self.section: own or dict(self.asked.values)}

    def draw(self, images: ImageSet, count: int, label_dropout: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """This process's share of `count` images at random, in [-1, 1], and of their classes (-1: none)."""
        x0, labels = images.draw(count, label_dropout, generator)
        return x0[self.mine].to(self.device, non_blocking=True), labels[self.mine].to(self.device, non_blocking=True)

    def noise_for(self, x0: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Standard normal noise for this process's share `x0` of `count` images."""
        return normal((count, *x0.shape[1:]), generator, self.device)[self.mine]

    def finish(
        self,
        network: nn.Module,
        name: str,
        optimisation: Optimisation,
        identity: dict[str, Any],
        *,
        folder: Path | None = None,
        target: Target | None = None,
        marks: dict[str, Any] | None = None,
    ) -> Path:
        """Fit `network` by `loss`, and write card and weights.

        Args:
            network: freshly initialised, on its device.
            name: of what is made.
            optimisation: how.
            identity: what makes this training this one; the card tells it too.
            folder: for checkpoint and log, `out` where none is given.
            target: see `fit`.
            marks: what the weights are that their shapes do not tell, as {"steps": 4}; the card and their file say it.
        """
        folder = folder or self.out
        self.world.share(optimisation.part, self.where)
        options: dict[str, Any] = {"validate": self.validate, "target": target, "world": self.world, "quiet": self.quiet}
        trained = fit(network, self.loss, optimisation, folder, title=name, identity=identity, same=self.same, **options)
        if self.world.rank == 0:
            card = self.card(trained) | identity | self.told()
            write_zoo(self.out, name, marks or {}, card, trained, self.device, read_rows(folder / LOG))
        self.world.wait()
        return self.out / f"{name}.json"
