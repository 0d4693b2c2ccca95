"""The time of a network's parts inside one pass, by marks before and after its modules; nothing waits in between."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import nn

from bench.instruments.clock import Clock, Span
from bench.instruments.statistics import summarise


def stage_times(
    run: Callable[[], Any],
    stages: dict[str, list[nn.Module]],
    clock: Clock,
    repetitions: int,
    done: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Milliseconds of each stage of `run`, and its share of the pass, one row a stage and one for everything else.

    Args:
        run: one pass, in eager mode.
        stages: modules by the name of their stage; none contains another.
        clock: of the device.
        repetitions: timed passes, after two that are not.
        done: told of each pass, after it.
    """
    rows: dict[str, list[float]] = {name: [] for name in (*stages, "everything else")}
    totals = []
    for repetition in range(repetitions + 2):
        with _marked(stages, clock) as spans:
            _, whole = clock.time(run)
        done()
        if repetition < 2:
            continue
        inside = {name: sum(s.seconds() for s in found) for name, found in spans.items()}
        for name, seconds in inside.items():
            rows[name].append(1e3 * seconds)
        totals.append(1e3 * whole.seconds)
        rows["everything else"].append(totals[-1] - 1e3 * sum(inside.values()))
    return [
        {
            "stage": name,
            "modules": len(stages.get(name, [])),
            "ms": summarise(values),
            "share": float(np.median(np.array(values) / np.array(totals))),
        }
        for name, values in rows.items()
    ]


@contextmanager
def _marked(stages: dict[str, list[nn.Module]], clock: Clock) -> Iterator[dict[str, list[Span]]]:
    """Spans of each stage's modules while the context lasts."""
    spans: dict[str, list[Span]] = {name: [] for name in stages}
    hooks = []

    def hook(name: str, module: nn.Module) -> None:
        open_spans: list[Span] = []
        hooks.append(module.register_forward_pre_hook(lambda *_: open_spans.append(clock.start())))
        hooks.append(module.register_forward_hook(lambda *_: spans[name].append(clock.stop(open_spans.pop()))))

    for name, modules in stages.items():
        for module in modules:
            hook(name, module)
    try:
        yield spans
    finally:
        for h in hooks:
            h.remove()
