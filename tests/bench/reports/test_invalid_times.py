"""Times that are marked invalid are neither drawn nor claimed."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_fixture import write_run
from told_reports import INVALID, caption, report, runs, set_times, student, timed

from bench.presentation.document import Figure
from bench.records.frame import load_records
from bench.reports.answer import answer
from bench.reports.break_even import break_even_table
from bench.reports.chooser import chooser
from bench.reports.overhead_figure import overhead_figure
from bench.reports.overview_figure import overview_figure
from bench.reports.quality_figures import quality_figures
from bench.reports.sections import sections
from bench.reports.student_claims import claims_table


def test_figures_of_time_leave_out_what_is_not_valid(tmp_path, drawn):
    rows = [timed("ddim", n, 2.0 * n, fd=10 / n) for n in (2, 5, 10)] + [timed("unipc", 4, 0.5, INVALID, fd=0.1)]
    made, _ = report(tmp_path, *rows, student(1, 2.0, fd=6.0))
    for title in ("Quality against time", "Overhead", "Students and solvers, side by side"):
        assert "1 row whose times are not valid" in caption(made, title)
    assert "unipc (0.5" not in caption(made, "Quality against time")
    assert "unipc" in caption(made, "Quality against calls")
    (figure,) = [b for b in made if isinstance(b, Figure) and b.title == "Quality against time"]
    assert figure.data is not None
    assert "unipc" not in set(figure.data["label"])
    for name in ("quality_ms", "story"):
        xs = np.concatenate([line.get_xdata() for ax in drawn[f"{name}.png"].axes[-2:] for line in ax.lines])
        assert xs.max() == 20.0, name
        assert 0.5 not in xs, name


def _of_times(records: list[dict[str, Any]]) -> list[Any]:
    """All that a report says and draws of times, but for the tables of what was measured."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as m:
        m.setattr("bench.presentation.looks.save", lambda figure, path: None)
        found: list[Any] = []
        for s in sections(load_records([write_run(Path(folder) / "run", records, images=False)])):
            found += [answer(s), claims_table(s, s), break_even_table(s, s), chooser(s, s)]
            draw = (overview_figure, overhead_figure)
            figures = [*quality_figures(s, Path(folder), ""), *(f(s, Path(folder), "") for f in draw)]
            found += [(f.caption, None if f.data is None else f.data.to_csv()) for f in figures]
    return [repr(f) for f in found]


@settings(max_examples=10, deadline=None)
@given(runs(), st.lists(st.floats(1e-3, 1e6), min_size=7, max_size=7))
def test_no_time_that_is_marked_invalid_is_used(records, others):
    """Whatever they are, everything that is said and drawn is the same."""
    before = _of_times(records)
    for made, ms in zip(records, others, strict=False):
        if made["time"]["conditions"]:
            set_times(made, ms)
    assert _of_times(records) == before
