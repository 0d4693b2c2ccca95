"""Reports of few made-up records, as documents and as text."""

from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from report_fixture import record, spread, write_run

from bench.presentation import markdown
from bench.presentation.document import Document, Figure
from bench.records.frame import load_records
from bench.reports.report import document, write_report
from bench.reports.sections import Section, sections

INVALID = {"valid": False, "reasons": ["heat"]}


def timed(sampler: str, steps: int, ms: float, conditions: dict | None = None, **changes: Any) -> dict[str, Any]:
    """A record with a latency of `ms`, and that time an image in batches."""
    made = record(sampler, steps, **changes)
    made["time"] |= {"latency_ms": spread(ms), "images_per_s": spread(1000 / ms), "conditions": conditions}
    return made


def student(steps: int, ms: float, name: str = "knowledge_distillation", **changes: Any) -> dict[str, Any]:
    training = {"seconds": 60.0, "images": 1000, "device": "a CPU"}
    return timed(name, steps, ms, student={"name": name, "sha256": "5" * 64}, training=training, **changes)


def report(folder: Path, *records: dict, influence: dict | None = None) -> tuple[Document, str]:
    """The report as a document and as text."""
    made = document(load_records([write_run(folder / "run", list(records), influence, images=False)]), folder)
    return made, markdown.render(made)


def section(folder: Path, *records: dict) -> Section:
    (only,) = sections(load_records([write_run(folder, list(records), images=False)]))
    return only


def caption(made: Document, title: str) -> str:
    (found,) = [b.caption for b in made if isinstance(b, Figure) and b.title == title]
    assert isinstance(found, str)
    return found


@st.composite
def runs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Records of solvers and students, some with times marked invalid."""
    names = st.sampled_from(["ddim", "heun", "unipc", "knowledge_distillation", "dsno"])
    cells = draw(st.lists(st.tuples(names, st.integers(1, 8)), min_size=2, max_size=7, unique=True))
    found = []
    for name, steps in cells:
        numbers = {"fd": draw(st.floats(2, 60)), "se": draw(st.sampled_from([0.01, 2.0]))}
        trained = name in ("knowledge_distillation", "dsno")
        made = student(steps, 2.0, name, **numbers) if trained else timed(name, steps, 2.0, **numbers)
        set_times(made, draw(st.floats(1, 50)))
        made["time"]["conditions"] = draw(st.sampled_from([None, INVALID]))
        found.append(made)
    return found


def set_times(made: dict[str, Any], ms: float) -> None:
    made["time"] |= {"latency_ms": spread(ms), "images_per_s": spread(1500 / ms), "overhead_fraction": ms}


def text_of(folder: Path, *records, **more) -> str:
    return write_report([write_run(folder, list(records), **more)]).read_text(encoding="utf-8")
