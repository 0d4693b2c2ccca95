"""What to run: flags, a YAML file or Python arguments become a `Plan`."""

import os
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bench.instruments.choices import Mode, Precision, Threads
from bench.quality.choices import TIERS, Tier, completed
from bench.runs.tuned import chosen
from samplers.documents import parse_document, read_document
from samplers.errors import UserError, unknown
from samplers.schedule import SOLVER_GRIDS
from samplers.settings import Settings, Share, SpecText

if TYPE_CHECKING:
    Grid = str
else:
    Grid = Literal[SOLVER_GRIDS]
TableName = Annotated[str, Field(pattern=r"^[\w (),.:=-]{1,80}$")]
Count = Annotated[int, Field(ge=1, le=10_000)]
"""Steps or calls of one pass; a thousand is a converged solution."""
BatchSize = Annotated[int, Field(ge=1, le=1_000_000)]
NONE = "none"
"""In the place of metrics: images are not scored, only held against the converged solution."""
PLANS = Path(__file__).parent / "plans"
"""Those that ship."""


class Plan(Settings):
    """Everything that decides a run's records. Each field is a key of the YAML plan and a flag of `bench run`."""

    headings: ClassVar[Mapping[str, str]] = {"samplers": "What is measured", "images": "Quality", "repetitions": "Time"}

    samplers: tuple[SpecText, ...] = Field(
        ("ddim", "dpm_solver", "dpmpp_2m", "heun"),
        description="names with options, as ddim:eta=0.5, and steps, as ddim@50; all for every one; tuned for those that "
        "'bench tune' chose; see 'bench list'",
    )
    tables: dict[TableName, list[SpecText]] = Field(
        {}, description="a table of the report each, by its name: more samplers to run, that are shown side by side"
    )
    teacher: str = Field("mnist32", description="name in the zoo, or path of a card (.json)")
    steps: tuple[Count, ...] = Field((), description="step counts instead of budgets")
    calls: tuple[Count, ...] = Field(
        (5, 10, 20), description="budgets of network calls, those that guidance adds aside; each sampler takes its most steps"
    )
    grid: Grid | None = Field(None, description="time grid for every solver instead of its own")
    images: int = Field(640, ge=2, le=10_000_000, description="images scored per cell")
    quality: Tier | None = Field(None, description="the number of images by a word: 1,000, 10,000 or 50,000")
    trajectory_images: int = Field(64, ge=0, le=1_000_000, description="of them, compared with the converged solution")
    batch_size: BatchSize = Field(64, description="images per call of a sampler, in throughput and where they are scored")
    seed: int = Field(0, ge=0, lt=2**32, description="of the noises")
    labels: Literal["balanced", "none"] = Field("balanced", description="image i is of class i mod K, or unconditional")
    prompts: str | None = Field(
        None, description="of a teacher that makes images of texts: a file, a prompt a line, or one text; they are its classes"
    )
    guidance: float | None = Field(
        None,
        gt=0,
        le=1000,
        description="weight w: prediction without a class + w (with - without); none, and 1: no guidance",
    )
    guidance_calls: int = Field(1, ge=1, le=2, description="network calls of a guided prediction: 1 of twice the batch, or 2")
    guide: str | None = Field(None, description="worse teacher that guides in the place of the teacher without a class")
    metrics: tuple[str, ...] = Field(
        ("fd",),
        description="kinds of quality, or none; see 'bench list'; of the extractor inception it is fid",
    )
    rank_by: str | None = Field(None, description="metric to rank by; none: the Frechet distance")
    extractor: str | None = Field(
        None, description="feature extractor; none: inception where fid is asked for, else the one of the teacher's data"
    )
    inception_weights: str | None = Field(None, description="file of Inception's published weights; none: fetched")
    reference: str | None = Field(
        None,
        description="what scores compare with: a folder, zip or npz of images, a file of statistics, or cifar10-train and the "
        "like; none: the extractor's own",
    )
    save_images: Literal["png", "npz"] | None = Field(
        None, description="keep all images: as png, a folder a cell with EDM's dataset.json, or as arr_0 in an npz a cell"
    )
    repetitions: int = Field(
        10, ge=0, le=1_000_000, description="timed repetitions per cell, three or more; 0: nothing is timed"
    )
    precision: Precision = Field("fp32", description="of the networks; bf16 by autocast")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    threads: Threads = Field(None, ge=0, le=4096, description="CPU threads, 0 for all cores, or auto: by a short measurement")
    mode: Mode = Field("eager", description="plainly, by torch.compile of the networks, or as a CUDA graph of a whole pass")
    time_precision: Share | None = Field(
        None, gt=0, lt=1, description="half width of the median's 95 % interval to reach, as 2%; none: exactly the repetitions"
    )
    time_budget: float = Field(30.0, gt=0, le=1e9, description="seconds of timed repetitions per cell to reach it in")
    sweep: tuple[BatchSize, ...] = Field((), description="increasing batch sizes to measure throughput at")
    cold_start: bool = Field(False, description="time load, compilation and first image in a fresh process")

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, values: Any) -> Any:
        """What fields say of others that are left out; fewer images than the default batch are one batch."""
        if not isinstance(values, dict):
            return values
        found = completed(values)
        usual, images = cls.model_fields["batch_size"].default, found.get("images")
        few = type(images) is int and "batch_size" not in found and 1 <= images < usual
        return {**found, "batch_size": images} if few else found

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not (self.samplers or self.tables):
            raise ValueError("samplers must not be empty")
        if self.repetitions in (1, 2):
            raise ValueError("repetitions must be at least 3, or 0 where nothing is timed")
        if not self.repetitions and (self.sweep or self.cold_start):
            raise ValueError("repetitions must be at least 3 where sweep or cold_start is asked for")
        if self.batch_size > self.images:
            raise ValueError(f"batch_size {self.batch_size} is more than the {self.images} images of a cell; lower it")
        if not self.steps and not self.calls:
            raise ValueError("neither steps nor calls are given; give --steps or --calls")
        if self.steps and self.calls != type(self).model_fields["calls"].default:
            raise ValueError("steps and calls are both given, and each decides the steps; leave out one")
        if NONE in self.metrics and (len(self.metrics) > 1 or self.rank_by is not None):
            raise ValueError("metrics are none and yet some; leave out 'none', or the others and rank_by")
        if self.guide is not None and self.guidance is None:
            raise ValueError("guide needs a weight; give --guidance, as 1.5")
        if list(self.sweep) != sorted(set(self.sweep)):
            raise ValueError("sweep must be increasing batch sizes, as in 1,4,16,64")
        return self

    @property
    def texts(self) -> tuple[str, ...]:
        """All samplers that it names, its tables' too."""
        return (*self.samplers, *chain(*self.tables.values()))

    @property
    def scores(self) -> tuple[str, ...]:
        """The metrics, () for none."""
        return () if self.metrics == (NONE,) else self.metrics

    def run_id(self) -> str:
        """A name for the records of this plan: teacher and a hash of the fields that are not at their default.

        So a field that comes later renames no plan. Runs made before this rule keep the names in their records; their folders
        are gone on with, since a folder's plan is compared parsed (`text_in`), not by name or text.
        """
        return f"{Path(self.teacher).stem}-{self.hashed()}"

    def text_in(self, folder: Path) -> str:
        """The plan's YAML: as `folder` has it, if what stands there is this plan."""
        there = folder / "plan.yaml"
        try:
            text = there.read_text()
            return text if Plan.of(parse_document(text, str(there), "plan")) == self else self.to_yaml()
        except (OSError, UnicodeDecodeError, UserError):
            return self.to_yaml()


def find_plan(name: str | Path) -> Path:
    """The path of a plan: a file, or the name of one that ships.

    Raises:
        UserError: neither.
    """
    path = Path(name)
    if path.suffix or os.path.exists(path):  # which is false of names that no system takes, too
        return path
    shipped = {p.stem: p for p in PLANS.glob("*.yaml")}
    if str(name) not in shipped:
        raise unknown("plan", str(name), shipped)
    return shipped[str(name)]


def make_plan(file: str | Path | None = None, *, tuned: Path | None = None, **options: Any) -> Plan:
    """A plan from a YAML file's keys (or those of a shipped plan), if one is given, and `options` (fields of `Plan`) over them.

    Steps among the options replace the file's calls, and calls its steps; quality its images, and images its quality.
    The samplers called "tuned" are those of the file `tuned`, which 'bench tune' wrote.

    Raises:
        UserError: an unknown field, a value of the wrong type, or one out of range; no such file where the plan needs one.
    """
    plan = read_plan(file, **options)
    tables = {name: list(chosen(texts, tuned)) for name, texts in plan.tables.items()}
    return plan.model_copy(update={"samplers": chosen(plan.samplers, tuned), "tables": tables})


def read_plan(file: str | Path | None = None, **options: Any) -> Plan:
    """As `make_plan`, with "tuned" as it stands.

    Raises:
        UserError: as `make_plan`.
    """
    if options.get("steps") and options.get("calls"):
        raise UserError("steps and calls are both given, and each decides the steps; leave out one")
    document = read_document(find_plan(file), "plan") if file is not None else None
    tier = options.get("quality")
    if document is not None and isinstance(tier, str) and tier in TIERS:
        options.setdefault("images", TIERS[tier])
    elif document is not None and "images" in options:
        options.setdefault("quality", None)
    if document is not None and options.get("steps"):
        options["calls"] = Plan.model_fields["calls"].default
    elif document is not None and options.get("calls"):
        options["steps"] = ()
    return Plan.of(document, **options)
