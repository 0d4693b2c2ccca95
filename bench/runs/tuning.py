"""`bench tune`: for each sampler and number of calls the setting that is best on noises which no study of it uses.

Every sampler with such a choice has as many candidates, its own default among them, and as many images. One that solves the
teacher's ODE is ranked by its trajectory error: that is what a setting changes, it is paired image by image, so few images tell
candidates apart, and no setting wins by making up for the teacher's errors. Others (ancestral samplers, students) have no ODE
path, and are ranked by the plan's metric.
"""

import inspect
from itertools import product
from pathlib import Path

import samplers
from bench.records.ranking import FRECHET, Ranking
from bench.records.schema import Record
from bench.runs.cells import Cell, most_steps
from bench.runs.plan import Plan
from bench.runs.run import run_plan
from bench.runs.tuned import Tuned
from bench.runs.tuning_settings import TuningSettings
from samplers.errors import UserError
from samplers.files import write_whole
from samplers.models.prompts import read_prompts
from samplers.registry import load
from samplers.spec import Spec

ERROR = "trajectory_error"


def tune(settings: TuningSettings, study: Plan, folder: Path, *, quiet: bool = False) -> Path:
    """Try all candidates by the ordinary runner, and write what was chosen, with all scores; returns that file's path.

    Args:
        study: whose teacher, labels, metrics and machine are used; nothing is timed.
        folder: of the run, whose records stay there; one with part of it is gone on with.

    Raises:
        UserError: noises of the study's seed, a sampler without a choice, or what a run refuses.
    """
    if settings.seed == study.seed:
        raise UserError(f"seed {study.seed} is the study's; choose on other noises, with --seed")
    tried = _tried(settings, study)
    own = {
        "teacher",
        "labels",
        "prompts",
        "guidance",
        "guidance_calls",
        "guide",
        "metrics",
        "rank_by",
        "extractor",
        "inception_weights",
        "reference",
        "precision",
        "device",
        "threads",
        "mode",
    }
    plan = Plan.of(
        **{k: v for k, v in dict(study).items() if k in own},
        samplers=tuple(dict.fromkeys(text for texts in tried.values() for text in texts)),
        images=settings.images,
        trajectory_images=settings.images,
        batch_size=min(study.batch_size, settings.images),
        calls=settings.calls,
        seed=settings.seed,
        repetitions=0,
    )
    records = {Cell.of(r): r for r in run_plan(plan, folder, quiet=quiet)}
    path = folder / "tuned.yaml"
    write_whole(path, _choice(tried, plan, records).to_yaml().encode())
    return path


def candidates(settings: TuningSettings, spec: Spec) -> list[str]:
    """The settings of a sampler to try, its own first; [] of one that has no such choice."""
    options = inspect.signature(load(spec.name)).parameters
    if not {"grid", "end"} <= options.keys() or samplers.card(spec.name).fitted:
        return []
    if "last" in options:
        tried = [{"grid": g, "end": e, "last": k} for g, e, k in product(settings.grids, settings.ends, settings.lasts)]
    else:
        tried = [{"grid": g, "end": e} for g, e in product(settings.grids, settings.levels)]
    found = [spec]
    for setting in tried:
        found.append(spec)
        for key, value in setting.items():
            found[-1] = found[-1].with_option(key, value)
    return list(map(str, found))


def _tried(settings: TuningSettings, study: Plan) -> dict[Spec, list[str]]:
    """Every sampler's candidates; of "all" those that the teacher can be sampled with.

    Raises:
        UserError: a named one without a choice.
    """
    teacher = samplers.load_teacher(study.teacher, prompts=read_prompts(study.prompts, settings.images))
    found = dict[Spec, list[str]]()
    for text in settings.samplers:
        for spec in [Spec(n) for n in samplers.names()] if text == "all" else [Spec.parse(text).at(None)]:
            try:
                own = candidates(settings, spec)
                if own and text == "all":
                    samplers.get(spec).prepare(teacher, "cpu", 1)
            except UserError:
                if text != "all":
                    raise
                continue  # no student of this teacher, say
            if own:
                found[spec] = own
            elif text != "all":
                raise UserError(f"{spec} has no grid and end to choose; leave it out of --samplers")
    return found


def _choice(tried: dict[Spec, list[str]], plan: Plan, records: dict[Cell, Record]) -> Tuned:
    chosen, ranked = dict[str, None](), dict[str, str]()
    scores: dict[str, dict[str, float | None]] = {}
    for spec, texts in tried.items():
        solves = samplers.get(spec).card.order is not None
        ranked[str(spec)] = ERROR if solves else _ranking(records).metric
        for calls in sorted(set(plan.calls)):
            found: dict[str, float | None] = {}
            for text in texts:
                if steps := most_steps(samplers.get(text).card, calls):
                    record = records.get(Cell(text, steps, plan.batch_size, plan.precision, plan.mode))
                    found[str(Spec.parse(text).at(steps))] = _score(record, _ranking(records), solves)
            if told := {text: score for text, score in found.items() if score is not None}:
                chosen[min(told, key=lambda text: told[text])] = None  # of equal ones the first, its own default before all
            if found:
                scores[f"{spec}, {calls} calls"] = found
    if not chosen:
        raise UserError("no candidate gave a score; the records say why")
    network = next(iter(records.values())).teacher
    return Tuned(
        samplers=tuple(chosen),
        teacher=f"{network.name} {str(network.sha256)[:12]}",
        seed=plan.seed,
        images=plan.images,
        candidates=max(map(len, tried.values())),
        ranked_by=ranked,
        scores=scores,
    )


def _ranking(records: dict[Cell, Record]) -> Ranking:
    """What ranks samplers that have no trajectory error."""
    named = next((r.rank_by for r in records.values() if r.rank_by is not None), None)
    return FRECHET if named is None else Ranking(named.metric, named.better)


def _score(record: Record | None, ranking: Ranking, solves: bool) -> float | None:
    """Of a candidate, smaller where better; None of one that failed."""
    if record is None or record.quality is None:
        return None
    if solves:
        return None if record.quality.trajectory_error is None else record.quality.trajectory_error.value
    scored = [s.value for name, s in record.quality.__pydantic_extra__.items() if ranking.ranks(name)]
    return ranking.sign * scored[0] if scored else None
