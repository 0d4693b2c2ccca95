"""The docs' tables of settings are current."""

import json

import pytest

from bench.commands.reference import BEGIN, written
from bench.runs.plan import Plan


@pytest.mark.parametrize("path", written(), ids=lambda p: p.name)
def test_what_the_docs_tell_of_a_plan_is_what_its_fields_say(path):
    assert path.read_text() == written()[path], "run python -m bench.commands.reference"


def test_every_field_is_told_once():
    page, schema = written()
    assert BEGIN in page.read_text()
    assert [line.split("`")[1] for line in page.read_text().splitlines() if line.startswith("| `")] == list(Plan.model_fields)
    assert json.loads(schema.read_text())["properties"].keys() == Plan.model_fields.keys()
    assert all(field.description for field in Plan.model_fields.values())
