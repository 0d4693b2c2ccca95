"""The docs' tables of settings are current."""

import json

import pytest
from typer.main import get_command

from bench.cli import app
from bench.commands.reference import BEGIN, written
from bench.comparison.settings import ComparisonSettings
from bench.profiling.settings import ProfileSettings
from bench.runs.plan import Plan
from bench.runs.tuning_settings import TuningSettings


@pytest.mark.parametrize("path", written(), ids=lambda p: p.name)
def test_what_the_docs_tell_is_what_the_fields_say(path):
    assert path.read_text() == written()[path], "run python -m bench.commands.reference"


def test_every_field_is_told_once():
    page, recipes, schema = written()
    assert BEGIN in page.read_text()
    assert [line.split("`")[1] for line in page.read_text().splitlines() if line.startswith("| `")] == list(Plan.model_fields)
    assert json.loads(schema.read_text())["properties"].keys() == Plan.model_fields.keys()
    assert all(field.description for field in Plan.model_fields.values())
    rows = [line for line in recipes.read_text().splitlines() if line.startswith("| `")]
    assert not [row for row in rows if row.endswith("|  |")]
    for section in ("data", "teacher", "optimisation", "network` of `teacher", "held_out", "trajectories", "dsno", "campaign"):
        assert recipes.read_text().count(f"\n## `{section}`\n") == 1


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
