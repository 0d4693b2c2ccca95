"""What README and docs tell of settings, cards and records is current."""

import json
import shutil
from pathlib import Path

import pytest
from typer.main import get_command

from bench.cli import app
from bench.commands import excerpts
from bench.commands.excerpts import excerpt
from bench.commands.listing import listed
from bench.commands.reference import SCHEMA, names, pages, written
from bench.comparison.settings import ComparisonSettings
from bench.profiling.settings import ProfileSettings
from bench.runs.plan import Plan
from bench.runs.tuning_settings import TuningSettings
from samplers.errors import UserError

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def current() -> dict[Path, str]:
    return written()


def test_what_readme_and_docs_tell_is_what_settings_cards_and_records_say(current):
    stale = [path.name for path, text in current.items() if path.read_text() != text]
    assert not stale, "run python -m bench.commands.reference"
    assert {"README.md", "plan.md", "recipes.md", "samplers.md", "mnist32.md", "dsno.md"} <= {path.name for path in current}


@pytest.mark.parametrize("path", pages(), ids=lambda p: p.name)
def test_every_mark_has_its_end(path):
    text = path.read_text()
    assert len(names(text)) == text.count("written by python -m bench.commands.reference -->") == text.count("<!-- end of ")


def test_an_excerpt_follows_its_records(tmp_path, monkeypatch):
    """The short results of a run whose students are all worse by 100 are others."""
    monkeypatch.setattr("bench.commands.excerpts.ROOT", tmp_path)
    shutil.copytree(ROOT / "results" / "demo", tmp_path / "results" / "changed")
    path = tmp_path / "results" / "changed" / "records.jsonl"
    assert "**At most 1 or 2 calls: knowledge_distillation**" in excerpt("results of changed")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for r in records:
        if r["student"]:
            for key in ("value", "ci_low", "ci_high"):
                r["quality"]["fd_mnist"][key] += 100
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    excerpts._section.cache_clear()
    said = excerpt("results of changed")
    assert "**At most 2 calls: " in said
    assert "**At most 2 calls: dsno" not in said
    assert "worse than" in said.splitlines()[-1]
    excerpts._section.cache_clear()


def test_the_short_results_tell_of_the_student_that_ships(tmp_path, monkeypatch):
    """A second student of DSNO that is better by 1 is not the one that is told of."""
    monkeypatch.setattr("bench.commands.excerpts.ROOT", tmp_path)
    shutil.copytree(ROOT / "results" / "demo", tmp_path / "results" / "two")
    path = tmp_path / "results" / "two" / "records.jsonl"
    own = next(r for r in map(json.loads, path.read_text().splitlines()) if r["sampler"] == "dsno")
    before = excerpt("results of two").splitlines()[-1]
    other = own | {"sampler": "dsno:student=again", "cell": "again", "student": own["student"] | {"name": "again"}}
    scores = own["quality"]["fd_mnist"]
    lower = {key: scores[key] - 1 for key in ("value", "ci_low", "ci_high")}
    other["quality"] = own["quality"] | {"fd_mnist": scores | lower}
    path.write_text(json.dumps(other) + "\n" + path.read_text())
    excerpts._section.cache_clear()
    after = excerpt("results of two").splitlines()[-1]
    assert "dsno:again" in excerpt("results of two")
    assert after.split(". ")[0] == before.split(". ")[0]
    excerpts._section.cache_clear()


def test_pairs_are_told_of_speed_results(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.commands.excerpts.ROOT", tmp_path)
    told = {"ratio": 0.98, "ratio_low": 0.96, "ratio_high": 1.0, "pairs": 50, "ours": "euler", "theirs": "k", "batch": 64}
    (tmp_path / "results" / "speed").mkdir(parents=True)
    free = [
        {"extra_info": {}, "params": {"spec": s, "batch": 64}, "stats": {"median": m}}
        for s, m in (("euler", 2e-4), ("k", 8e-4))
    ]
    pair = {"extra_info": told, "params": {"ours": "euler", "theirs": "k", "batch": 64}}
    content = {"benchmarks": [*free, pair]}
    (tmp_path / "results" / "speed" / "neighbours.json").write_text(json.dumps(content))
    assert "| k | euler | 64 | 0.980 [0.960, 1.00] | 50 | 0.250 |" in excerpt("pairs of speed/neighbours")


def test_an_unknown_excerpt_is_refused():
    with pytest.raises(UserError, match="no excerpt 'sumary of demo'; known are output and results, "):
        excerpt("sumary of demo")


def test_every_field_is_told_once(current):
    page, recipes, schema = (current[p] for p in (DOCS / "plan.md", DOCS / "recipes.md", SCHEMA))
    assert [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")] == list(Plan.model_fields)
    assert json.loads(schema)["properties"].keys() == Plan.model_fields.keys()
    assert all(field.description for field in Plan.model_fields.values())
    rows = [line for line in recipes.splitlines() if line.startswith("| `")]
    assert not [row for row in rows if row.endswith("|  |")]
    for section in ("data", "teacher", "optimisation", "network` of `teacher", "held_out", "trajectories", "dsno", "campaign"):
        assert recipes.count(f"\n## `{section}`\n") == 1


def test_every_sampler_that_ships_is_told_once(current):
    rows = [line.split("|")[1].strip() for line in current[DOCS / "samplers.md"].splitlines() if line.startswith("| ")]
    ours = {
        e.name
        for e in listed()
        if e.kind in ("sampler", "student") and e.facts.get("package", "sampler-bench") == "sampler-bench"
    }
    assert {name: rows.count(name) for name in ours} == dict.fromkeys(ours, 1)


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        ("run", Plan),
        ("compare", ComparisonSettings),
        ("gate", ComparisonSettings),
        ("profile", ProfileSettings),
        ("tune", TuningSettings),
    ],
)
def test_every_field_is_a_flag_with_its_description_and_no_default(command, settings):
    """Without a default, so that what is given is told from what is not, and a file's value stays."""
    params = {p.name: p for p in get_command(app).commands[command].params}
    fields = {k: f for k, f in settings.model_fields.items() if (command, k) not in (("profile", "sampler"), ("run", "tables"))}
    assert fields.keys() <= params.keys()
    for name, field in fields.items():
        assert params[name].opts == [f"--{name.replace('_', '-')}"]
        assert params[name].help.startswith(field.description)
        assert params[name].default is None
