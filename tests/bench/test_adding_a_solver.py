"""Adding a solver is one file and one entry-point line: nothing else knows of it, and everything else takes it."""

import bench
from bench.commands.listing import listed
from bench.comparison import baseline
from bench.comparison.verdicts import PASS, exit_code
from bench.reports.report import write_report

SOLVER = """
from dataclasses import replace

from samplers.solvers.euler import DDIM


class Twin(DDIM):
    card = replace(DDIM.card, name="twin", family="twins", note="DDIM by another name.")
"""


def test_a_solver_is_listed_run_reported_and_passes_the_gate(small, install, tmp_path, monkeypatch):
    monkeypatch.setattr("samplers.names", lambda: ["ddim"])
    stored = baseline.count(small["teacher"], calls=2)
    monkeypatch.setattr("samplers.names", lambda: ["ddim", "twin"])
    install("[bench.samplers]\ntwin = stranger_package:Twin", SOLVER)

    told = {e.name: e.facts for e in listed() if e.kind == "sampler"}
    assert told["twin"]["note"] == "DDIM by another name."
    assert "the paper's linear spacing" in told["twin"]["where that comes from"]

    frame = bench.run(out=tmp_path / "run", quiet=True, **{**small, "samplers": ("ddim", "twin"), "calls": (2,)})
    assert set(frame["status"]) == {"ok"}
    assert frame["quality.trajectory_error.value"].nunique() == 1
    assert "| twin |" in write_report([tmp_path / "run"], tmp_path / "report").read_text()

    rows = baseline.compare_counts(stored, baseline.count(small["teacher"], calls=2))
    assert exit_code(rows) == PASS
    (new,) = [r for r in rows if r.cell == "twin"]
    assert (new.verdict, new.note) == ("skipped", "of stranger-package: not stored, so not judged")
