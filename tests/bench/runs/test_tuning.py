"""`bench tune`, and a study whose tables show samplers as published, on one grid, and at what it chose."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import bench
from bench.cli import app
from bench.records.store import read_records
from bench.reports.report import write_report
from bench.runs.cells import Cell, cells, tables_of
from bench.runs.plan import make_plan, read_plan
from bench.runs.tuned import Tuned
from bench.runs.tuning import candidates, tune
from bench.runs.tuning_settings import TuningSettings
from samplers import UserError
from samplers.documents import read_document
from samplers.spec import Spec

FEW = {"grids": ("karras", "uniform_t"), "ends": (0.02, 0.1), "lasts": ("denoise", "stop"), "levels": (0.3, 0.6, 1.0, 2.0)}


@pytest.fixture
def study(small, tmp_path) -> Path:
    """A plan of three tables, as a file."""
    plan = {k: v for k, v in small.items() if k not in ("samplers", "threads", "device")} | {
        "samplers": ["ddim@7"],
        "tables": {
            "as published": ["ddim", "heun", "ddpm"],
            "on one grid": [f"{n}:grid=karras:end=0.02:last=denoise" for n in ("ddim", "heun")],
            "tuned on other noises": ["tuned"],
        },
        "calls": [3, 5],
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(plan))
    return path


def test_every_sampler_has_as_many_candidates_and_its_own_setting_first():
    settings = TuningSettings(**FEW)
    for text in ("ddim", "ddim:eta=0.5", "heun", "unipc:variant=bh2", "consistency", "consistency_training"):
        found = candidates(settings, Spec.parse(text))
        assert found[0] == text
        assert len(set(found)) == len(found) == 9
        assert all(Spec.parse(f).options[: len(Spec.parse(text).options)] == Spec.parse(text).options for f in found)
    for text in ("dsno", "progressive", "s4s"):
        assert candidates(settings, Spec.parse(text)) == []
    with pytest.raises(UserError, match="levels must be as many as ends times lasts, 6, not 4: equal effort for every method"):
        TuningSettings(**FEW | {"ends": (0.01, 0.02, 0.05)})


def test_a_study_is_tuned_on_other_noises_and_shows_three_tables(study, tmp_path):
    """The whole way: choose, run, report; nothing of the choice is timed, and all its scores are kept."""
    out = tmp_path / "tuning"
    given = ["--samplers", "ddim,ddpm,heun", "--calls", "3,5", "--images", "20", "--quiet", "--grids", "karras,uniform_t"]
    given += ["--ends", "0.02,0.1", "--levels", "0.3,0.6,1,2"]
    result = CliRunner().invoke(app, ["tune", "--plan", str(study), "--out", str(out), *given])
    assert result.exit_code == 0, result.output
    records = read_records(out / "records.jsonl")
    assert {(r.seed, r.images, r.status, r.time, r.memory) for r in records} == {(1, 20, "ok", None, None)}
    tuned = Tuned.of(read_document(out / "tuned.yaml", "choice"))
    assert (tuned.seed, tuned.images, tuned.candidates) == (1, 20, 9)
    assert tuned.ranked_by == {"ddim": "trajectory_error", "heun": "trajectory_error", "ddpm": "fd"}
    by_cell = {(r.sampler, r.steps): r for r in records}
    for name, scores in tuned.scores.items():
        assert len(scores) == 9
        sampler, calls = name.split(", ")
        best = min(scores, key=scores.get)
        assert best in tuned.samplers
        for text, score in scores.items():
            spec = Spec.parse(text)
            record = by_cell[str(spec.at(None)), spec.steps]
            assert spec.name == sampler
            assert record.counted.calls <= int(calls.split()[0])
            quality = record.quality
            assert score == (quality.fd_tinyfeatures if sampler == "ddpm" else quality.trajectory_error).value

    again = (out / "tuned.yaml").read_bytes()
    tune(TuningSettings(samplers=("ddim", "ddpm", "heun"), calls=(3, 5), images=20, **FEW), read_plan(study), out, quiet=True)
    assert (out / "tuned.yaml").read_bytes() == again

    run = tmp_path / "run"
    bench.run(plan=study, tuned=out / "tuned.yaml", out=run, quiet=True, device="cpu", threads=1)
    rows = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    assert {t for r in rows for t in r.get("tables", [])} == {"as published", "on one grid", "tuned on other noises"}
    assert [r["sampler"] for r in rows if "tables" not in r] == ["ddim"]
    chosen = {str(Spec.parse(t).at(None)) for t in tuned.samplers}
    assert {r["sampler"] for r in rows if "tuned on other noises" in r.get("tables", [])} == chosen
    text = write_report([run]).read_text()
    headings = [f"### Samplers {name}" for name in ("as published", "on one grid", "tuned on other noises")]
    places = [text.index(h) for h in headings]
    assert places == sorted(places)
    published, common, own = (text[a:b] for a, b in zip(places, [*places[1:], text.index("### Figures")], strict=True))
    assert "The same for all that have such settings: grid karras, last level 0.02, last step denoise." in common
    assert "last step**" not in common
    for table in (published, own):
        assert "**settings: grid, last level, last step**" in table
        assert table.count("| ddpm |") == 2  # without a trajectory error
        assert table.count("| ddim |") == table.count("| heun |") == 3
    assert "| heun | karras, 0.01, denoise |" in published
    answer = text[: places[0]]
    assert "ddim:grid" not in answer, "answers are of the first table"
    assert "| ddim |" in answer


def test_a_chosen_plan_is_whole_in_its_folder(study, tmp_path):
    """The folder's plan names the samplers, not the file, so it is the same plan again when the run goes on."""
    choice = Tuned(
        samplers=("ddim:end=0.05@4",), teacher="x", seed=1, images=20, candidates=1, ranked_by={}, scores={"ddim, 5 calls": {}}
    )
    (tmp_path / "tuned.yaml").write_text(choice.to_yaml())
    plan = make_plan(study, tuned=tmp_path / "tuned.yaml")
    assert plan.tables["tuned on other noises"] == ["ddim:end=0.05@4"]
    (tmp_path / "plan.yaml").write_text(plan.to_yaml())
    assert make_plan(tmp_path / "plan.yaml") == plan
    assert plan.text_in(tmp_path) == (tmp_path / "plan.yaml").read_text()
    assert tables_of(plan)[Cell("ddim:end=0.05", 4, 16, "fp32")] == ["tuned on other noises"]
    assert set(tables_of(plan)) < set(cells(plan))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "choose with 'bench tune' and name its file with --tuned"),
        ("samplers: [ddim]\n", "teacher is missing"),
        ("- ddim\n", "a choice of 'bench tune' is a list of"),
    ],
)
def test_a_plan_without_its_choice_is_refused(study, tmp_path, text, told):
    path = None if text is None else tmp_path / "tuned.yaml"
    if path:
        path.write_text(text)
    with pytest.raises(UserError, match=told):
        make_plan(study, tuned=path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"seed": 0}, "seed 0 is the study's; choose on other noises, with --seed"),
        ({"samplers": ("dsno",)}, "dsno has no grid and end to choose; leave it out of --samplers"),
        ({"lasts": ("stop", "halt"), "samplers": ("ddim",)}, "unknown last step 'halt'"),
        ({"ends": (0.001, 0.02), "samplers": ("ddim",)}, r"no walk ends at sigma 0\.001 here"),
    ],
)
def test_what_cannot_be_tuned_is_told_before_anything_is_made(study, tmp_path, options, told):
    with pytest.raises(UserError, match=told):
        tune(TuningSettings(images=20, **FEW | options), read_plan(study), tmp_path / "out", quiet=True)
    assert not list(tmp_path.glob("out/*.jsonl"))
