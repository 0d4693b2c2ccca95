"""The harness: plan, measure, score, store, report. `bench.run(samplers=["ddim"])` is `bench run --samplers ddim`."""

from typing import TYPE_CHECKING

from samplers.lazy import lazily

if TYPE_CHECKING:
    from bench.commands.doctor import doctor
    from bench.commands.functions.judging import compare, gate
    from bench.commands.functions.measuring import literature, profile, recommend, report, tune
    from bench.commands.functions.plugins import new, verify
    from bench.commands.functions.scoring import score
    from bench.commands.functions.training import campaign, convert, train
    from bench.commands.listing import list_
    from bench.runs.plan import Plan, make_plan
    from bench.runs.run import folder_of, run, run_plan
    from bench.runs.shards import merge
    from samplers.errors import UserError

__getattr__, __dir__, __all__ = lazily(
    globals(),
    {
        "bench.commands.doctor": "doctor",
        "bench.commands.functions.judging": "compare gate",
        "bench.commands.functions.measuring": "literature profile recommend report tune",
        "bench.commands.functions.plugins": "new verify",
        "bench.commands.functions.scoring": "score",
        "bench.commands.functions.training": "campaign convert train",
        "bench.commands.listing": "list_",
        "bench.runs.plan": "Plan make_plan",
        "bench.runs.run": "folder_of run run_plan",
        "bench.runs.shards": "merge",
        "samplers.errors": "UserError",
    },
)
