"""What a reader of records is told about their times."""

from report_fixture import failed, record

from bench.records.caveats import caveats
from bench.records.schema import Record
from bench.records.versions import upgrade


def cell(name: str, asked: float | None, reached: float | None, valid: bool | None = True) -> Record:
    values = record("ddim", 5, cell=name)
    conditions = None if valid is None else {"valid": valid, "reasons": [] if valid else ["heat"]}
    values["time"] |= {"precision_asked": asked, "precision_reached": reached, "conditions": conditions}
    return upgrade(values)


def test_caveats_name_the_worst_and_are_silent_where_all_is_well():
    others = [upgrade(failed("heun", 3, "why")), upgrade(record("heun", 5))]
    assert caveats([cell("a", None, None), cell("b", 0.02, 0.02, None), *others]) == []
    told = caveats([cell("a", 0.02, 0.03), cell("b", 0.02, 0.05), cell("c", 0.02, 0.01), cell("d", None, None, False)])
    assert told[0] == (
        "precision: 2 of 4 cells did not reach the one asked for within their budget (b: 5.0%); raise --time-budget"
    )
    assert "1 of 4 cells were timed while something disturbed them" in told[1]
    assert "(d: heat)" in told[1]
    assert "no interval" in caveats([cell("a", 0.02, None), cell("b", 0.02, 0.05)])[0]


def test_what_disturbed_a_run_names_the_remedy():
    r = cell("d", None, None, False)
    on = {n: r.model_copy(update={"environment": r.environment.model_copy(update={"threads": n})}) for n in (1, 2)}
    (alone,), (spare,) = caveats([on[1]]), caveats([on[2]])
    assert "Stop what else runs here and give the same command with --again: it measures these alone" in alone
    assert "--threads" not in alone
    assert spare.endswith("; or leave the rest a core, by --threads 1 and another --out")
