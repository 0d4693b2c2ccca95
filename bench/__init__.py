"""The harness: plan, measure, score, store, report. `bench.run(samplers=["ddim"])` is `bench run --samplers ddim`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.runs.plan import Plan, make_plan
    from bench.runs.run import folder_of, run, run_plan
    from samplers.errors import UserError

_HOMES = {
    "Plan": "bench.runs.plan",
    "UserError": "samplers.errors",
    "folder_of": "bench.runs.run",
    "make_plan": "bench.runs.plan",
    "run": "bench.runs.run",
    "run_plan": "bench.runs.run",
}
"""Where each public name lives; it is imported when it is first asked for, so that `import bench` loads no torch."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bench' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


__all__ = ["Plan", "UserError", "folder_of", "make_plan", "run", "run_plan"]
