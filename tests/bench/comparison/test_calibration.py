"""The calibration experiment: its delays are of the size it says, it counts what is wrong, and goes on where it stopped."""

import json

import pytest

from bench.comparison import calibration
from bench.comparison.calibration import DELAYS, calibrate, delayed
from bench.comparison.calibration_page import error_table, write_page, wrong
from bench.comparison.checkout import Packages, export
from bench.presentation import markdown
from samplers import UserError
from samplers.files import read_rows


def made_up(number: int = 0, **verdicts: str) -> dict:
    """A trial as `trial` returns it."""
    one = {"a_ms": 8.0, "b_ms": 8.2, "pairs": 120, "verdict": "same"}
    cells = {}
    for name, share in DELAYS.items():
        ratio = 1 + share + 0.001 * (number % 5 - 2)
        process = one | {"ratio": ratio, "ratio_low": ratio - 0.005, "ratio_high": ratio + 0.005}
        verdict = verdicts.get(name, "slower" if share == 0.05 else "same")
        cells[name] = {"delay": share, "verdict": verdict, "processes": [process, process]}
    return {"seconds": 20.0 + number, "neighbour": 0.5, "cells": cells}


@pytest.fixture
def trials(monkeypatch):
    """Trials without a measurement; the list grows by the sides of each that was asked for."""
    asked = []

    def trial(sides, terms, folder, pid):
        asked.append(sides)
        return made_up(len(asked))

    monkeypatch.setattr(calibration, "trial", trial)
    return asked


def test_side_b_s_network_waits_for_its_share_of_each_call(repo, tmp_path):
    revision = export("good", repo, tmp_path)
    delayed(revision.root, DELAYS)
    packages = Packages(revision)
    with packages.active():
        import samplers

        assert {*DELAYS} <= {*samplers.names()}
        for name, share in DELAYS.items():
            sampler = samplers.get(name)
            assert (sampler.card.name, sampler.share) == (name, share)
        import samplers.delayed as module

        now = [0.0]

        def clock() -> float:
            now[0] += 1e-4
            return now[0]

        teacher = samplers.load_teacher("mnist32")
        z = samplers.noise(0, range(1), teacher.shape)

        class Network:
            """Takes a second; of the teacher's shape."""

            def __getattr__(self, name):
                return getattr(teacher, name)

            def __call__(self, x, sigma, labels=None):
                now[0] += 1.0
                return x

        module.perf_counter = clock
        for name, share in DELAYS.items():
            now[0] = 0.0
            samplers.get(name).sample(Network(), z, steps=2)
            assert now[0] == pytest.approx(2 * (1 + share), abs=2e-3)


def test_what_is_wrong():
    told = {
        share: {v for v in ("slower", "faster", "same", "ambiguous") if wrong(share, v, 0.05)} for share in (0.0, 0.02, 0.05)
    }
    assert told == {0.0: {"slower", "faster"}, 0.02: {"faster"}, 0.05: {"faster", "same", "ambiguous"}}


def test_the_table_counts_verdicts_and_wrong_ones():
    found = [made_up(), made_up(delay_0="slower"), made_up(delay_2="slower"), made_up(delay_5="same")]
    rows = [[c.text for c in row] for row in error_table(found, 0.05).rows]
    assert [r[0] for r in rows] == ["the same code (A/A)", "B slower by 2 %", "B slower by 5 %"]
    assert [r[1:5] for r in rows] == [["1", "0", "3", "0"], ["1", "0", "3", "0"], ["3", "0", "1", "0"]]
    assert [r[5].split(",")[0] for r in rows] == ["1 of 4", "0 of 4", "1 of 4"]


def test_it_goes_on_where_it_stopped(repo, tmp_path, monkeypatch, trials):
    monkeypatch.chdir(repo)
    calibrate(2, tmp_path)
    with open(tmp_path / "trials.jsonl", "a") as f:
        f.write('{"trial": 2, "sec')
    found = calibrate(4, tmp_path)
    assert len(trials) == 4
    assert [t["trial"] for t in found] == [0, 1, 2, 3]
    assert read_rows(tmp_path / "trials.jsonl") == json.loads(json.dumps(found))
    page = write_page(tmp_path).read_text()
    assert "4 comparisons" in page
    assert markdown.render([error_table(found, 0.05)]) in page
    assert (tmp_path / "calibration.png").stat().st_size > 0


def test_trials_of_another_setting_are_not_mixed(repo, tmp_path, monkeypatch, trials):
    monkeypatch.chdir(repo)
    calibrate(1, tmp_path)
    with pytest.raises(UserError, match="another setting, machine or revision"):
        calibrate(2, tmp_path, effect=0.1)
    assert len(trials) == 1


def test_no_trials_no_page(tmp_path):
    with pytest.raises(UserError, match="no trials in"):
        write_page(tmp_path)
