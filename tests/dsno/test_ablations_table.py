import json
import runpy
import sys
from pathlib import Path

import pytest

import dsno.ablations.table
from dsno.ablations.table import ablations_table
from samplers import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    student = {"points": 4, "modes": 2, "updates": 360, "student_forwards": 46080}
    content = {
        "students": [
            {"student": "dsno-s0", "variant": "dsno", "sha256": "a", **student},
            {"student": "dsno-s1", "variant": "dsno", "sha256": "b", **student},
            {"student": "kd-s0", "variant": "kd", "sha256": "c", **student, "points": 1, "modes": 0},
        ],
        "variants": [
            {"variant": "dsno", "note": "DSNO", "seeds": 2, "error": 0.2},
            {"variant": "kd", "seeds": 1, "error": 0.21, "ratio": 1.05, "ratio_low": 1.01, "ratio_high": 1.09}
            | {"verdict": "worse"},
        ],
    }
    (tmp_path / "ablations.json").write_text(json.dumps(content))
    return tmp_path


def test_a_row_a_variant(folder: Path):
    lines = ablations_table(folder).splitlines()
    assert len(lines) == 4
    assert "| DSNO | 4 | 2 | 360 | 46,080 | 2 | 0.2000 |  |  |" in lines
    assert "| kd | 1 | 0 | 360 | 46,080 | 1 | 0.2100 | 1.050 [1.010, 1.090] | worse |" in lines


def test_what_is_not_told_apart_says_what_would_be(folder: Path):
    content = json.loads((folder / "ablations.json").read_text())
    content["variants"][1] |= {"tells": 0.0123, "verdict": "not told apart"}
    (folder / "ablations.json").write_text(json.dumps(content))
    assert ablations_table(folder).splitlines()[3].endswith("| not told apart, 1.2% would be |")


def test_scores_are_joined_by_the_student_s_hash(folder: Path):
    def record(sha: str | None, value: float) -> str:
        fd = {"fd_x": {"value": value, "ci_low": value - 1, "ci_high": value + 1}}
        return json.dumps({"student": sha and {"sha256": sha}, "quality": fd})

    rows = [record("a", 5), record("b", 7), record(None, 3), json.dumps({"student": {"sha256": "c"}, "quality": None})]
    (folder / "records.jsonl").write_text("\n".join(rows) + "\n")
    lines = ablations_table(folder).splitlines()
    assert lines[2].endswith("| 5.00, 7.00 |")  # each seed's
    assert lines[3].endswith("| worse |  |")  # not scored


def test_no_table_is_one_line_and_exit_code_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    with pytest.raises(UserError, match="bench train ablations"):
        ablations_table(tmp_path)
    monkeypatch.setattr(sys, "argv", ["table.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(dsno.ablations.table.__file__, run_name="__main__")
    assert len(capsys.readouterr().err.splitlines()) == 1
