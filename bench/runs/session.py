"""What a run measures with; it checks everything that can be wrong, and nothing is written before it stands."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

import samplers
from bench.instruments.clock import Clock
from bench.instruments.modes import check_mode
from bench.machine.conditions import watch
from bench.machine.device import prepare_process, resolve_device
from bench.machine.threads import choose_threads
from bench.presentation.text import plural
from bench.quality.extractor import Extractor, ReadsTexts, extractor_of, find_extractor
from bench.quality.metrics import check_metrics, check_needs, compares_features, load_metric
from bench.quality.reference import Reference, find_reference
from bench.quality.trajectory import Converged
from bench.runs.cells import Cell, cells, expand, tables_of
from bench.runs.executor import Executor
from bench.runs.measurement import Measurement
from bench.runs.plan import Plan
from bench.runs.progress import Display
from bench.runs.shards import KEY, Shard
from bench.runs.spent import Ledger
from samplers.errors import PluginError, UserError, foreign, one_line, package_at, unknown
from samplers.flops import flops
from samplers.models.doubts import doubts
from samplers.models.guidance import guided
from samplers.models.prompts import read_prompts
from samplers.models.teacher import Teacher
from samplers.protocol import Sampler, Student
from samplers.registry import MEND
from samplers.spec import Spec
from samplers.training.cards import machine
from samplers.training.precision import cores_each
from samplers.world import World

ALONE = World(0, 1, torch.device("cpu"))
READYING, LONG = 600.0, 5.0
"""Seconds that a sampler may take to get ready: a download is slow, ten minutes are not; and from how many on that is told."""


class Session:
    """One process's instruments for a plan.

    Attributes:
        plan: what is run.
        cells: of the plan.
        broken: those of them that a plug-in's fault keeps from being measured, and why.
        tables: names of the tables that a cell stands in, where it is in some.
        device: of all networks.
        teacher: loaded, and guided.
        extractor: of the images; None where they are not scored: the plan's metrics are none, or it names neither extractor
            nor other metrics than the usual and there is none of the teacher's data.
        rank_by: the metric that ranks the records where it is not the Frechet distance: {metric, better}.
        watch: of the conditions, None where the system tells nothing.
        display: the progress bar.
        executor: makes images, timed or not.
        spent: what else took time.
        others: tells the display what other processes have made of a cell; nothing in one process, and in all but the first.
        samplers: of each cell that is to be measured its own, since a student may be of certain steps only.
        unready: cells that "all" brought in and that cannot be measured, and why.
        texts: features of the prompts [K, D] of an extractor that reads them; image i is of number i mod K.
        real: features of real images, which the metrics compare with; None without an extractor.
        labelled: whether images are made of classes, or prompts.
        converged: the solution of the plan's ODE, once its phase has run.
        threads: of an earlier process that began the plan with `auto`, which are kept.
        world: this process among those of the run.
        shard: the part of the plan's cells that is run; None for all.
        teacher_flops: of one forward of one image, without guidance.

    Raises:
        UserError: anything asked for that cannot be.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        quiet: bool = False,
        threads: int | None = None,
        world: World = ALONE,
        shard: Shard | None = None,
    ):
        self.plan, self.world, self.shard = plan, world, shard
        planned = cells(plan)
        self.cells, self.tables = list(planned) if shard is None else shard.of(list(planned)), tables_of(plan)
        self.broken = {c: why for c, why in planned.items() if why is not None}
        check_metrics(plan.scores, plan.images)
        self.rank_by = _rank_by(plan)
        self.device = resolve_device(plan.device) if world.size == 1 else world.device
        check_mode(plan.mode, self.device)
        shared = world.size > 1 and plan.threads is None
        prepare_process(self.device, threads or plan.threads or (cores_each() if shared else 0))
        prompts = read_prompts(plan.prompts, plan.images)
        load = partial(samplers.load_teacher, device=self.device, prompts=prompts)
        bare: Teacher = load(plan.teacher)
        guide = None if plan.guide is None else load(plan.guide)
        self.teacher = guided(bare, plan.guidance, plan.guidance_calls, guide)
        self.labelled = plan.labels == "balanced" and self.teacher.num_classes > 0
        if not self.labelled and not self.teacher.unconditional:
            raise UserError(f"teacher '{self.teacher.name}' needs a class for each image; ask for --labels balanced")
        if plan.save_images and (self.teacher.image_shape or (0,))[0] not in (1, 3):
            raise UserError(f"teacher '{self.teacher.name}' makes no grey or RGB images; leave out --save-images")
        self.extractor: Extractor | None = None
        self.real: Reference | None = None
        self.texts: Tensor | None = None
        usual = plan.metrics == type(plan).model_fields["metrics"].default and plan.rank_by is None
        if plan.scores and not (usual and plan.extractor is None and extractor_of(self.teacher.data) is None):
            self.extractor = find_extractor(plan.extractor, self.teacher, plan.inception_weights)
            needed = compares_features(plan.scores)
            with Display(quiet or world.rank > 0, transient=True) as display:
                self.real = find_reference(self.extractor, self.device, plan.reference, features=needed, now=display.now)
            prompted = self.labelled and bool(prompts)
            asked = self.labelled and not prompts
            check_needs(plan.scores, self.extractor, self.real, asked, plan.images, prompted=prompted)
            if prompted and isinstance(self.extractor, ReadsTexts):
                self.texts = self.extractor.texts(prompts)
        self.display, self.spent = Display(quiet or world.rank > 0), Ledger()
        self.others: Callable[[Measurement], None] = lambda m: None
        with foreign(f"teacher '{one_line(plan.teacher)}' cannot denoise", "its author must mend it"):
            self.executor = Executor(plan, self.teacher, Clock(self.device), self.display.advance)
            z, labels = self.inputs(range(1))
            self.teacher_flops = flops(bare, z, 1.0, labels)
            if bare.image_shape is not None and bare.image_shape != (made := tuple(bare.decode(z).shape[1:])):
                raise ValueError(f"it decodes images {list(made)}, and says {list(bare.image_shape)}")
            if note := bare.card.get("note"):
                self.display.say(f"teacher '{bare.name}': {one_line(note)}")
            for line in doubts(bare, self.device):
                self.display.say(f"teacher '{bare.name}' is doubtful: {line}")
        if plan.threads is None and not threads and not shared and self.device.type == "cpu":
            self.display.say(choose_threads(self._network_pass).why)
        self.watch = watch(self.device, torch.get_num_threads())
        self.samplers: dict[Cell, Sampler] = {}
        self.unready: dict[Cell, str] = {}
        for cell in [c for c in self.cells if c not in self.broken]:
            self._ready(cell)
        self.converged: Converged | None = None

    def inputs(self, indices: range) -> tuple[Tensor, Tensor | None]:
        """Noise and labels of images `indices`."""
        return self.executor.inputs(indices)

    @torch.no_grad()
    def _network_pass(self) -> None:
        """One call of the teacher with one image and one with a batch, as a round of timing has them."""
        for size in (1, self.plan.batch_size):
            z, labels = self.inputs(range(size))
            with self.executor.autocast():
                self.teacher(z, 1.0, labels)

    def identity(self) -> dict[str, Any]:
        """What the records depend on besides the plan."""
        students: dict[str, dict[str, None]] = {}
        for c, s in self.samplers.items():
            if s.student is not None:  # an ordered set: progressive distillation has one a step count
                students.setdefault(c.sampler, {})[s.student.sha256] = None
        hashes = {spec: next(iter(found)) if len(found) == 1 else list(found) for spec, found in students.items()}
        return {
            "teacher": self.teacher.sha256,
            "extractor": self.extractor and self.extractor.sha256,
            "reference": self.real and self.real.sha256,
            "device": f"{self.device.type}, {machine(self.device)}",
            **({"threads": torch.get_num_threads()} if self.plan.threads is None else {}),
            **({"students": hashes} if hashes else {}),
            **({} if self.shard is None else {KEY: str(self.shard)}),
        }

    def _ready(self, cell: Cell) -> None:
        """Make a cell's sampler and let it load its student, or tell why it cannot be measured.

        Raises:
            UserError: the user's own mistake, of a sampler that the plan names and "all" has not just brought in.
        """
        spec, begin = cell.sampler, time.perf_counter()
        try:
            sampler = samplers.get(spec)
            with foreign(f"{one_line(spec)} cannot be made ready", MEND, package_at(sampler), READYING):
                sampler.prepare(self.teacher, self.device, cell.steps)
                self._check(spec, sampler.student)
            self.samplers[cell] = sampler
            if (seconds := time.perf_counter() - begin) > LONG:
                self.display.say(f"{one_line(spec)} with {plural(cell.steps, 'step')}: made ready in {seconds:.0f} s")
        except PluginError as e:
            self.broken[cell] = str(e)
        except UserError as e:
            own = {s for s, named in expand(self.plan, self.plan.texts).items() if named}
            if {Spec.parse(spec), Spec.parse(spec).at(cell.steps)} & own:
                raise
            self.unready[cell] = str(e)

    def _check(self, spec: str, student: Student | None) -> None:
        """Refuse a student whose images of this plan would not be held out, or are of other labels."""
        labels = self.plan.labels if self.teacher.num_classes else "none"
        if student is None:
            return
        if self.plan.seed in student.noise_seeds:
            raise UserError(f"{spec} was trained on the noises of seed {self.plan.seed}; choose another --seed to score it")
        if student.labels not in ("any", labels):
            need = "with class labels" if student.labels == "balanced" else "without class labels"
            raise UserError(f"{spec} was trained {need}; ask for --labels {student.labels}")


def _rank_by(plan: Plan) -> dict[str, str] | None:
    """What `Plan.rank_by` names: a metric of the plan's, or one of the scores that it gives; FID where it is asked for.

    Raises:
        UserError: no metric of the plan gives it.
    """
    if plan.rank_by is None:
        return {"metric": "fid", "better": "lower"} if "fid" in plan.scores else None
    metrics = [load_metric(name) for name in plan.scores]
    found = {output: m.better for m in metrics for output in m.outputs}
    found |= {m.name: m.better for m in metrics if len(m.outputs) == 1}
    if plan.rank_by not in found:
        raise unknown("score to rank by", plan.rank_by, found)
    metric = next((m.outputs[0] for m in metrics if m.name == plan.rank_by), plan.rank_by)
    return {"metric": metric, "better": found[plan.rank_by]}
