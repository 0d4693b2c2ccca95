"""The record: what was measured for a cell, as types. The one place of its keys.

A record is one JSON object, built as a `Record` and read through `upgrade`; a key that older records lack is optional. A number
is finite, a text of bounded length; unknown keys are metrics' names, what an environment has and what a card tells. A field's
title heads its column in tables (`columns`), its description stands at an axis; those of a part serve for all that is in it.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from bench.records.parts import Count, Number, Open, Part, Rare, Scalar, Text
from bench.records.scores import Quality
from samplers.settings import SpecText

SCHEMA = 1  # version of what is written


class Network(Part):
    """A teacher or a student: its name, and the SHA-256 of its weights (None for weights that are in no file)."""

    name: Text
    sha256: Text | None = Field(title="SHA-256")


class Teacher(Network):
    """And what is to be known of it: noise levels that were left out, a weight of guidance that it was distilled with."""

    note: Text | None = Rare


class Counted(Part):
    """What a pass of one image does: network calls, forwards, FLOPs, the same over a teacher forward's, waits of the host."""

    calls: Count = Field(title="calls", description="network calls (sequential depth)")
    forwards: Count
    flops_per_image: Count
    teacher_equivalents: Number = Field(title="teacher-equivalents", description="teacher-equivalents (total work)")
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

    load: Number | None = Field(title="load, s")
    compile: Number | None = Field(title="compile or capture, s")
    first_image: Number | None = Field(title="first image, s")
    total: Number | None = Field(title="cold start, s")


class Conditions(Open):
    """Whether something disturbed the timed work: `valid` is None where nobody could tell."""

    valid: bool | None
    reasons: list[Text] = Field(title="times not valid, because")


class Decode(Part):
    """Making images of latents, apart from sampling, which `Time` tells; and the medians of both together."""

    latency_ms: Spread = Field(title="decode ms, batch 1")
    images_per_s: Spread = Field(title="decoded images/s")
    total_latency_ms: Number = Field(title="both ms, batch 1")
    total_images_per_s: Number = Field(title="images/s, both")


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
    latency_ms: Spread = Field(title="latency ms, batch 1", description="latency of one image, ms (batch 1)")
    host_latency_ms: Spread | None = Rare
    launch_gap_ms: Spread | None = Rare
    images_per_s: Spread = Field(title="images/s")
    decode: Decode | None = Rare
    precision_asked: Number | None = Rare
    precision_reached: Number | None = Rare
    cold_start_s: ColdStart | None = None
    overhead_fraction: Number | None = Field(None, title="overhead", description="time beyond the bare network calls, %")
    conditions: Conditions | None = None
    sweep: list[SweepPoint] | None = Rare
    sweep_stopped: Annotated[Text | None, Field(title="ended because")] = Rare
    warm_up: WarmUp | None = Rare
    raw: Raw | None = Rare


class Memory(Part):
    """The most that a timed batch took; None where the system does not tell."""

    peak_bytes: Count | None


class Energy(Part):
    """Of batches run back to back, whole device."""

    joules_per_image: Number = Field(title="joules an image")
    images: Count
    seconds: Number
    counter: Text


class Cost(Open):
    """What making a student took in all: the data and the students before it, too."""

    seconds: Number | None = Field(None, title="in all, minutes")
    student_forwards: Number | None = Field(None, title="student forwards, in all")
    teacher_forwards: Number | None = Field(None, title="teacher forwards, in all")


class Training(Open):
    """What making a student took, as its card tells."""

    seconds: Number | None = Field(None, title="its training, minutes")
    device: Text | None = Field(None, title="trained on")
    images: Count | None = Field(None, title="images seen")
    cost: Cost | None = Rare
    torch: Text | None = Rare
    finished: Text | None = Rare
    note: Text | None = Rare
    curve: list[dict[str, Any]] | None = Rare


class DecodedPath(Part):
    """Noise levels that one call decodes, and the number of noises whose paths are kept as a picture."""

    sigmas: list[Number]
    noises: Count


class Gpu(Open):
    """The device that was measured on, where it is one."""

    __pydantic_extra__: dict[str, Scalar]
    name: Text | None = Field(None, title="GPU")


class Environment(Open):
    """Versions, machine, and its load while it was measured."""

    __pydantic_extra__: dict[str, Scalar | dict[str, Scalar]]
    python: Text | None = None
    packages: dict[str, Text | None] = Field(default_factory=dict)
    cpu: Text | None = Field(None, title="CPU")
    threads: Count | None = None
    gpu: Gpu | None = None


class RankBy(Part):
    """The metric that ranks this record among others, and where it is better."""

    metric: Text
    better: Literal["lower", "higher"]


class Record(Part):
    """What was measured for one cell, or why it was not."""

    schema_: Literal[1] = Field(alias="schema", json_schema_extra={"column": False})
    run_id: Text = Field(title="run")
    cell: Text
    sampler: SpecText
    family: Text
    steps: Count
    grid: Text | None
    end: Number | None = Rare
    last_step: Text | None = Rare
    deterministic: bool
    order: Count | None
    teacher: Teacher = Field(title="teacher")
    student: Network | None = Field(title="student")
    images: Count = Field(title="images a cell")
    seed: Count
    labels: Text
    batch_size: Count
    device: Text
    precision: Text
    mode: Text
    status: Literal["ok", "failed", "skipped"]
    error: Text | None = Field(title="reason")
    counted: Counted | None
    time: Time | None
    memory: Memory | None
    energy: Energy | None = Rare
    quality: Quality | None
    rank_by: RankBy | None = Rare
    training: Training | None
    path: DecodedPath | None = Rare
    tables: list[Text] | None = Rare
    environment: Environment = Field(json_schema_extra={"column": False})
