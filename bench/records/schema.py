"""The record: what was measured for a cell, as types. The one place of its keys.

A record is one JSON object, built as a `Record` and read through `upgrade` (`bench.records.versions`); a key that older records
lack is optional here. A number is finite, a text of bounded length, and no key is unknown but a metric's name, an environment's
package or what a card tells of its training. The table of records takes its columns from here, too (`bench.records.columns`).
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from samplers.settings import SpecText

SCHEMA = 1
"""Version of what is written."""
Text = Annotated[str, StringConstraints(max_length=2000)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Scalar = bool | Count | Number | Text | None
Rare: Any = Field(default=None, json_schema_extra={"column": False})
"""Of a key whose column is in a table only where some record has it."""


class Part(BaseModel):
    """A part of a record: every key known, every value of its type, nothing changed once it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Open(BaseModel):
    """A part that others write (a card, the system), of which only some keys are ours."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


class Network(Part):
    """A teacher or a student: its name, and the SHA-256 of its weights (None for weights that are in no file)."""

    name: Text
    sha256: Text | None


class Counted(Part):
    """What a pass of one image does: network calls, forwards, FLOPs, the same over a teacher forward's, waits of the host."""

    calls: Count
    forwards: Count
    flops_per_image: Count
    teacher_equivalents: Number
    synchronisations: Count | None = Rare


class Spread(Part):
    """Of repeated values: median, percentiles, minimum, the median's 95 % interval (None for fewer than six), and how many."""

    median: Number
    p10: Number
    p90: Number
    min: Number
    ci_low: Number | None
    ci_high: Number | None
    n: Count


class ColdStart(Part):
    """Seconds from nothing to the first image, in a fresh process."""

    load: Number | None
    compile: Number | None
    first_image: Number | None
    total: Number | None


class Conditions(Open):
    """Whether something disturbed the timed work: `valid` is None where nobody could tell."""

    valid: bool | None
    reasons: list[Text]


class SweepPoint(Part):
    """Throughput at one batch size."""

    batch_size: Count
    images_per_s: Spread
    peak_bytes: Count | None
    conditions: Conditions | None


class Raw(Part):
    """Every repetition in the order they were made; those dropped by number, with their reasons."""

    latency_ms: list[Number]
    batch_s: list[Number]
    host_latency_ms: list[Number] | None = None
    host_batch_s: list[Number] | None = None
    dropped: dict[str, list[Text]] | None = None


class WarmUp(Open):
    """Repetitions before the first that counts."""

    repetitions: Count


class Time(Part):
    """How long it took: latency of one image, throughput in batches, and what else was timed."""

    clock: Text
    latency_ms: Spread
    host_latency_ms: Spread | None = Rare
    launch_gap_ms: Spread | None = Rare
    images_per_s: Spread
    precision_asked: Number | None = Rare
    precision_reached: Number | None = Rare
    cold_start_s: ColdStart | None = None
    overhead_fraction: Number | None = None
    conditions: Conditions | None = None
    sweep: list[SweepPoint] | None = Rare
    sweep_stopped: Text | None = Rare
    warm_up: WarmUp | None = Rare
    raw: Raw | None = Rare


class Memory(Part):
    """The most that a timed batch took; None where the system does not tell."""

    peak_bytes: Count | None


class Energy(Part):
    """Of batches run back to back, whole device."""

    joules_per_image: Number
    images: Count
    seconds: Number
    counter: Text


class Score(Part):
    """One metric: its value, 95 % interval (None where there is none), images, and what it compares with."""

    value: Number
    ci_low: Number | None
    ci_high: Number | None
    n: Count
    extractor_sha256: Text | None = Rare
    reference_sha256: Text | None = Rare


class TrajectoryError(Part):
    """Relative RMSE to the converged solution, which states its own error."""

    value: Number
    ci_low: Number | None
    ci_high: Number | None
    n: Count
    reference: Text
    reference_error: Number


class Quality(BaseModel):
    """Metrics by name; these two every run may have, the others are the plan's."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    __pydantic_extra__: dict[str, Score]
    trajectory_error: TrajectoryError | None = None
    label_agreement: Score | None = None


class Training(Open):
    """What making a student took, as its card tells."""

    seconds: Number | None = None
    device: Text | None = None
    images: Count | None = None
    torch: Text | None = Rare
    finished: Text | None = Rare
    note: Text | None = Rare
    curve: list[dict[str, Any]] | None = Rare


class DecodedPath(Part):
    """Noise levels that one call decodes, and the number of noises whose paths are kept as a picture."""

    sigmas: list[Number]
    noises: Count


class Environment(Open):
    """Versions, machine, and its load while it was measured."""

    __pydantic_extra__: dict[str, Scalar | dict[str, Scalar]]
    python: Text | None = None
    packages: dict[str, Text | None] = Field(default_factory=dict)


class RankBy(Part):
    """The metric that ranks this record among others, and where it is better."""

    metric: Text
    better: Literal["lower", "higher"]


class Record(Part):
    """What was measured for one cell, or why it was not."""

    schema_: Literal[1] = Field(alias="schema", json_schema_extra={"column": False})
    run_id: Text
    cell: Text
    sampler: SpecText
    family: Text
    steps: Count
    grid: Text | None
    deterministic: bool
    order: Count | None
    teacher: Network
    student: Network | None
    images: Count
    seed: Count
    labels: Text
    batch_size: Count
    device: Text
    precision: Text
    mode: Text
    status: Literal["ok", "failed", "skipped"]
    error: Text | None
    counted: Counted | None
    time: Time | None
    memory: Memory | None
    energy: Energy | None = Rare
    quality: Quality | None
    rank_by: RankBy | None = Rare
    training: Training | None
    path: DecodedPath | None = Rare
    environment: Environment = Field(json_schema_extra={"column": False})


def plain(record: Record) -> dict[str, Any]:
    """A record as JSON has it, with the keys that it was made with."""
    return record.model_dump(mode="json", by_alias=True, exclude_unset=True)
