"""What to use for a budget: decided on made-up records whose answer is known, and refused where noise hides it."""

import numpy as np
import pytest
from command import call
from report_fixture import failed, record, spread, write_run

from bench.records.frame import load_records
from bench.reports.advice import advise, images_to_tell
from bench.reports.advice_text import duration, recommendation, remarks, sentence
from bench.reports.budget import Budget
from bench.reports.sections import sections
from samplers.errors import UserError


def timed(record: dict, ms: float, rate: float = 100.0, **more) -> dict:
    """A record with this latency and rate; `more` goes into its times."""
    record["time"] |= {"latency_ms": spread(ms), "images_per_s": spread(rate), **more}
    return record


def taught(name: str, steps: int, ms: float, rate: float, seconds: float, **more) -> dict:
    """A record of a student whose training took so many seconds."""
    made = {"student": {"name": name, "sha256": "b" * 64}, "training": {"seconds": seconds, "cost": {"seconds": seconds}}}
    return timed(record(name, steps, **made, **more), ms, rate)


@pytest.fixture
def told(tmp_path):
    """What the records of a run say to a budget: (advice, sentence and remarks as one text)."""

    def ask(*records, influence=None, **budget):
        run = write_run(tmp_path / str(len(list(tmp_path.iterdir()))), list(records), influence, images=False)
        (section,) = sections(load_records([run]))
        advice = advise(section, Budget(**budget))
        inline = [sentence(section, advice), *remarks(section, advice)]
        pieces = [[i] if isinstance(i, str) else i for i in inline]
        return advice, " ".join("".join(p if isinstance(p, str) else p.text for p in one) for one in pieces)

    return ask


def chosen(advice) -> tuple[str, int]:
    return advice.chosen["sampler"], advice.chosen["steps"]


CLEAR = [
    timed(record("ddim", 5, fd=8.0), 10), timed(record("ipndm", 5, fd=4.0), 11),
    timed(record("ddim", 10, fd=3.0), 20), timed(record("unipc", 20, fd=2.0), 40),
]  # fmt: skip


@pytest.mark.parametrize(
    ("budget", "right"),
    [
        ({"calls": 5}, ("ipndm", 5)),
        ({"calls": 19}, ("ddim", 10)),
        ({"latency_ms": 20.0}, ("ipndm", 5)),  # ddim's median is 20, its interval ends at 20.4
        ({"latency_ms": 20.5}, ("ddim", 10)),
        ({"quality": "1.8x"}, ("ddim", 10)),
        ({"quality": 3}, ("ipndm", 5)),
        ({"calls": 10, "latency_ms": 12}, ("ipndm", 5)),
    ],
)
def test_a_clear_case_is_decided(told, budget, right):
    advice, _ = told(*CLEAR, **budget)
    assert chosen(advice) == right


def test_the_cheapest_of_what_is_tied_is_used_and_the_best_is_the_runner_up(told):
    advice, text = told(record("ddim", 10, fd=3.00), record("ipndm", 5, fd=3.05), record("heun", 5, fd=9.0), calls=10)
    assert chosen(advice) == ("ipndm", 5)
    assert advice.runner_up["sampler"] == "ddim"
    # two independent intervals of standard error 0.05, difference 0.05: 500 (1.96 * 0.0707 / 0.05)^2 = 3842
    assert "about 3,800 images a cell instead of 500" in text


def test_of_equal_cost_and_quality_none_is_chosen(told):
    advice, text = told(record("ddim", 5, fd=3.00), record("ipndm", 5, fd=3.05), calls=5)
    assert advice.chosen is None
    assert [r["sampler"] for r in advice.level] == ["ddim", "ipndm"]
    assert "no choice within the noise: ddim, 5 steps and ipndm, 5 steps cost the same" in text
    assert "3,800 images" in text


def test_of_equal_calls_the_one_of_less_work_is_used(told):
    counted = {"calls": 5, "forwards": 20, "flops_per_image": 10**9, "teacher_equivalents": 20.0}
    advice, text = told(record("ddim", 5, fd=3.00, counted=counted), record("ipndm", 5, fd=3.05), calls=5)
    assert chosen(advice) == ("ipndm", 5)
    assert "5 calls, 5 teacher-equivalents" in text


def test_paired_influence_decides_what_intervals_cannot(told):
    a, b = record("ddim", 5, fd=3.00, se=1.0), record("ipndm", 5, fd=3.05, se=1.0)
    shared = np.random.default_rng(0).normal(0, 20, 500)
    influence = {a["cell"]: shared, b["cell"]: shared + np.random.default_rng(1).normal(0, 0.1, 500)}
    assert told(a, b, calls=5)[0].chosen is None
    assert chosen(told(a, b, influence=influence, calls=5)[0]) == ("ddim", 5)


def test_what_has_no_interval_is_not_called_as_good(told):
    bare = record("ipndm", 2, fd=2.95)
    bare["quality"]["fd_mnist"] |= {"ci_low": None, "ci_high": None}
    advice, text = told(bare, record("ddim", 10, fd=3.0), record("heun", 10, fd=2.9), calls=20)
    assert chosen(advice) == ("ddim", 10)  # tied with heun, and cheaper by 9 calls
    assert "Could not be tested, for want of intervals: ipndm, 2 steps." in text
    other = record("ddim", 10, fd=3.0)
    other["quality"]["fd_mnist"] |= {"ci_low": None, "ci_high": None}
    advice, text = told(bare, other, calls=20)
    assert advice.chosen is None
    assert "No two rows there could be tested" in text


def test_what_may_be_good_enough_is_named_and_not_used(told):
    advice, text = told(record("ddim", 20, fd=2.0), record("ipndm", 5, fd=2.38), record("heun", 5, fd=2.9), quality=1.2)
    assert chosen(advice) == ("ddim", 20)
    assert [r["sampler"] for r in advice.perhaps] == ["ipndm"]
    assert "1.19 times the best, between 1.12 and 1.27" in text  # exp(log 1.19 -+ 1.96 hypot(0.05 / 2, 0.05 / 2.38))


def test_times_marked_invalid_decide_nothing(told):
    fast = timed(record("ipndm", 5, fd=2.0), 1.0, conditions={"valid": False, "reasons": ["another process"]})
    advice, text = told(fast, timed(record("ddim", 5, fd=4.0), 10), latency_ms=20)
    assert chosen(advice) == ("ddim", 5)
    assert "The times of 1 row are marked invalid" in text
    advice, text = told(fast, latency_ms=20)
    assert advice.chosen is None
    assert "No row has times that are valid" in text
    assert "ms" not in told(fast, calls=20)[1].replace("marked", "")  # nor are they told


def test_training_counts_where_a_number_of_images_is_told(told):
    student = taught("progressive", 1, ms=2, rate=1000, seconds=90, fd=2.0)
    solver = timed(record("ddim", 10, fd=2.0), 20, rate=100)  # saves 0.009 s an image, so 90 s are worth 10,000 of them
    assert chosen(told(student, solver, images=8_000)[0]) == ("ddim", 10)
    advice, text = told(student, solver, images=12_000)
    assert chosen(advice) == ("progressive", 1)
    assert "12,000 images take 12.0 s and a training of 90.0 s" in text
    advice, text = told(student, solver, calls=10)
    assert "It takes a training of 90.0 s." in text
    assert "another training by the same recipe may do better or worse" in text
    assert "another training" not in told(solver, calls=10)[1]
    assert (advice.untrained["sampler"], advice.untrained["steps"]) == ("ddim", 10)


def test_a_training_that_no_card_tells_is_not_counted_as_nothing(told):
    student = taught("progressive", 1, ms=2, rate=1000, seconds=90, fd=2.0) | {"training": None}
    assert chosen(told(student, timed(record("ddim", 10, fd=2.0), 20), images=1e9)[0]) == ("ddim", 10)


@pytest.mark.parametrize(
    ("budget", "why"),
    [
        ({"calls": 4}, "the fewest calls are 5"),
        ({"latency_ms": 5}, "the fastest takes 10.2 ms"),
        ({"memory": 0.2}, "the least memory is 0.25 GB"),
    ],
)
def test_nothing_fits(told, budget, why):
    advice, text = told(*CLEAR, **budget)
    assert advice.chosen is None
    assert why in text


def test_times_of_two_machines_decide_nothing(told):
    other = {**CLEAR[1]["environment"], "cpu": "Another"}
    advice, text = told(CLEAR[0], CLEAR[1] | {"environment": other}, latency_ms=50)
    assert advice.chosen is None
    assert "different machines" in text


def test_runs_without_quality_or_result(tmp_path):
    bare = write_run(tmp_path / "bare", [record("ddim", 5, quality=None)], images=False)
    (_, paragraph, *_), decided = recommendation(load_records([bare]), Budget(calls=5))
    assert not decided
    assert "No Frechet distance was measured" in paragraph.text[-1]
    none = write_run(tmp_path / "none", [failed("ddim", 5, "out of memory")], images=False)
    assert recommendation(load_records([none]), Budget(calls=5))[1] is False


def test_equal_rows_are_told_by_no_measurement(told):
    a = record("ddim", 5, fd=3.0)
    advice, text = told(a, record("ipndm", 5, fd=3.0), calls=5)
    assert images_to_tell(*advice.level) == np.inf
    assert "take either" in text


def test_the_command_says_by_its_exit_code_whether_it_could_decide(tmp_path, monkeypatch, capsys):
    run = str(write_run(tmp_path / "run", CLEAR, images=False))
    code, out, _ = call(monkeypatch, capsys, "recommend", run, "--calls", "5")
    assert (code, "**use ipndm, 5 steps**" in out) == (0, True)
    code, out, _ = call(monkeypatch, capsys, "recommend", run, "--latency-ms", "1")
    assert (code, "no recommendation" in out) == (3, True)
    for words in ((run,), (run, "--quality", "x"), (str(tmp_path), "--calls", "5")):
        code, out, err = call(monkeypatch, capsys, "recommend", *words)
        assert (code, out, err.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("wrong", [{}, {"calls": 0}, {"quality": "good"}, {"quality": 0.9}, {"images": float("nan")}])
def test_bad_budgets_are_the_users_mistake(wrong):
    with pytest.raises(UserError) as e:
        Budget(**wrong)
    assert "\n" not in str(e.value)


def test_durations_have_readable_units():
    assert [duration(s) for s in (5, 300, 7200, 1e6)] == ["5.00 s", "5.00 minutes", "2.00 hours", "11.6 days"]
