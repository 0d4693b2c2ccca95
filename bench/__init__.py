"""The harness: plan, measure, score, store, report. `bench.run(samplers=["ddim"])` is `bench run --samplers ddim`."""

from typing import TYPE_CHECKING

from samplers.lazy import lazily

if TYPE_CHECKING:
    from bench.runs.plan import Plan, make_plan
    from bench.runs.run import folder_of, run, run_plan
    from samplers.errors import UserError

__getattr__, __dir__, __all__ = lazily(
    globals(),
    {"bench.runs.plan": "Plan make_plan", "bench.runs.run": "folder_of run run_plan", "samplers.errors": "UserError"},
)
