"""What to run: flags, a YAML file or Python arguments become a `Plan`."""

import dataclasses
import hashlib
import json
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.instruments.modes import MODES
from samplers.errors import UserError, unknown
from samplers.schedule import GRIDS

PRECISIONS = ("fp32", "bf16")
LABELS = ("balanced", "none")
LATER = ("mode", "time_precision", "time_budget", "sweep", "cold_start")
"""Keys that came after the first runs: left out of a plan's file and hash where they have their default, so that those runs
keep their names and can be gone on with."""
PLANS = Path(__file__).parent / "plans"
"""Those that ship."""


@dataclass(frozen=True)
class Plan:
    """Everything that decides a run's records. Each field is a key of the YAML plan and a flag of `bench run`.

    Attributes:
        samplers: names with options, as in "ddim", "ddim:eta=0.5", "heun:grid=logsnr"; "all" for every installed one; "ddim@50"
            for 50 steps whatever the plan's steps or calls.
        teacher: name in the zoo, or path of a card.
        steps: step counts to run, or empty to choose by `calls`.
        calls: budgets of network calls; for each, the largest step count of the sampler that stays within it.
        grid: a time grid for every solver instead of its own, or None.
        images: images per cell that are scored.
        trajectory_images: the first so many are also compared with the converged solution, 0 for none.
        batch_size: of throughput and of the scored images.
        seed: of the noises.
        labels: "balanced" (image i is of class i mod K) or "none" (unconditional).
        metrics: kinds of `bench.quality.metrics.METRICS`.
        extractor: name or card of the feature extractor; None for the one trained on the teacher's data.
        repetitions: timed repetitions of each cell, at least 3.
        precision: "fp32", or "bf16" for autocast.
        device: "cpu", "cuda", "cuda:1", or "auto".
        threads: CPU threads, 0 for all.
        mode: "eager", "compile" (torch.compile of the networks) or "graph" (a CUDA graph of the whole trajectory).
        time_precision: half width of the median's 95 % interval to reach, relative to the median (0.02 or "2%"), in latency
            and in throughput; None for exactly `repetitions`.
        time_budget: seconds of timed repetitions a cell may take to reach it, `repetitions` in any case.
        sweep: batch sizes, increasing, at which throughput is measured until it stops growing; empty for none.
        cold_start: whether to time load, compilation and first image of each cell in a fresh process.
    """

    samplers: tuple[str, ...] = ("ddim", "dpm_solver_2", "dpmpp_2m", "heun")
    teacher: str = "mnist32"
    steps: tuple[int, ...] = ()
    calls: tuple[int, ...] = (5, 10, 20)
    grid: str | None = None
    images: int = 640
    trajectory_images: int = 64
    batch_size: int = 64
    seed: int = 0
    labels: str = "balanced"
    metrics: tuple[str, ...] = ("fd",)
    extractor: str | None = None
    repetitions: int = 10
    precision: str = "fp32"
    device: str = "auto"
    threads: int = 0
    mode: str = "eager"
    time_precision: float | None = None
    time_budget: float = 30.0
    sweep: tuple[int, ...] = ()
    cold_start: bool = False

    def __post_init__(self) -> None:
        if self.seed >= 2**32:
            raise UserError(f"seed must be below 2^32, got {self.seed}")
        for key, low in (
            ("images", 2),
            ("batch_size", 1),
            ("repetitions", 3),
            ("trajectory_images", 0),
            ("seed", 0),
            ("threads", 0),
        ):
            if getattr(self, key) < low:
                raise UserError(f"{key} must be at least {low}, got {getattr(self, key)}")
        if self.batch_size > self.images:
            raise UserError(f"batch_size {self.batch_size} is more than the {self.images} images of a cell; lower it")
        for key, known in (("precision", PRECISIONS), ("labels", LABELS), ("grid", tuple(GRIDS)), ("mode", MODES)):
            value = getattr(self, key)
            if value is not None and value not in known:
                raise unknown(key, value, known)
        if not self.samplers:
            raise UserError("no sampler asked for; name some with --samplers, or 'all'")
        if min((*self.steps, *self.calls), default=0) < 1:
            raise UserError("steps and calls must be 1 or more; give --steps or --calls")

        if self.time_precision is not None and not 0 < self.time_precision < 1:
            raise UserError(f"time_precision must lie between 0 and 1 (0.02 is 2 %), got {self.time_precision:g}")
        if not self.time_budget > 0:
            raise UserError(f"time_budget must be more than 0 seconds, got {self.time_budget:g}")
        if list(self.sweep) != sorted(set(self.sweep)) or min(self.sweep, default=1) < 1:
            raise UserError("sweep must be increasing batch sizes from 1 on, as in 1,4,16,64")

    def _content(self) -> dict[str, Any]:
        """All fields, but of the later ones only those that differ from their default."""
        plain = {f.name: f.default for f in dataclasses.fields(self) if f.name in LATER}
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in plain or v != plain[k]}

    def run_id(self) -> str:
        """A name for the records of this plan: teacher and a hash of its fields."""
        content = json.dumps(self._content(), sort_keys=True)
        return f"{Path(self.teacher).stem}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"

    def to_yaml(self) -> str:
        """The plan as a YAML file that `load_plan` reads."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in self._content().items()}
        return yaml.safe_dump(values, sort_keys=False)


def find_plan(name: str | Path) -> Path:
    """The path of a plan: a file, or the name of one that ships.

    Raises:
        UserError: neither.
    """
    path = Path(name)
    if path.suffix or path.exists():
        return path
    shipped = {p.stem: p for p in PLANS.glob("*.yaml")}
    if str(name) not in shipped:
        raise unknown("plan", str(name), shipped)
    return shipped[str(name)]


def load_plan(path: Path) -> dict[str, Any]:
    """The fields that a YAML plan sets.

    Raises:
        UserError: no such file, not YAML, an unknown key or a value of the wrong type, with its line.
    """
    try:
        text = path.read_text()
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except OSError as e:
        raise UserError(f"cannot read the plan {path}: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise UserError(f"{path} is not a text file; a plan is YAML") from e
    except yaml.YAMLError as e:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(e).split())}") from e
    if not isinstance(values, dict) or not isinstance(node, yaml.MappingNode):
        raise UserError(f"{path}: a plan is a list of 'key: value' lines")
    lines = {k.value: k.start_mark.line + 1 for k, _ in node.value}
    hints = typing.get_type_hints(Plan)
    fields = {}
    for key, value in values.items():
        where = f"{path}, line {lines.get(str(key), '?')}"
        if key not in hints:
            raise UserError(f"{where}: {unknown('key', str(key), hints)}")
        try:
            fields[key] = coerce(value, hints[key])
        except ValueError as e:
            raise UserError(f"{where}: {key} {e}") from e
    return fields


def coerce(value: Any, kind: Any) -> Any:
    """A value as a field's type; strings and numbers stand for lists of one.

    Raises:
        ValueError: it does not fit; the message completes "KEY ...".
    """
    if isinstance(kind, types.UnionType):
        return None if value is None else coerce(value, typing.get_args(kind)[0])
    if typing.get_origin(kind) is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(coerce(v, typing.get_args(kind)[0]) for v in items)
    if kind is float and isinstance(value, str | int) and not isinstance(value, bool):
        try:
            return float(value.removesuffix("%")) / 100 if isinstance(value, str) and value.endswith("%") else float(value)
        except ValueError:
            raise ValueError(f"must be a number, or a percentage, not {value!r}") from None
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, kind):
        article = {int: "a whole number", str: "a word", float: "a number, or a percentage", bool: "true or false"}[kind]
        raise ValueError(f"must be {article}, not {value!r}")
    return value


def make_plan(file: str | Path | None = None, **options: Any) -> Plan:
    """A plan from a YAML file's keys (or those of a shipped plan), if one is given, and `options` (fields of `Plan`) over them.

    Raises:
        UserError: an unknown field, a value of the wrong type, or one out of range.
    """
    kinds = typing.get_type_hints(Plan)
    values = load_plan(find_plan(file)) if file is not None else {}
    for key, value in options.items():
        if key not in kinds:
            raise unknown("argument", key, kinds)
        try:
            values[key] = coerce(value, kinds[key])
        except ValueError as e:
            raise UserError(f"{key} {e}") from e
    return Plan(**values)
