import contextlib
import json
import textwrap
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from command import call
from processes import start
from run_folders import records

import bench
import bench.runs.run
import samplers.registry
from bench.reports.report import write_report
from bench.runs.executor import Executor
from bench.runs.overhead import PASSES
from bench.runs.plan import make_plan
from bench.runs.run import run_plan
from bench.runs.scoring import Scoring
from samplers import Card, Sampler, UserError
from samplers.time_limit import TimeUpError, time_limit


def quality(folder: Path) -> dict[str, dict]:
    """What must not depend on when a cell ran: cell -> (counts, quality)."""
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert len({r["cell"] for r in records}) == len(records)
    return {r["cell"]: {"counted": r["counted"], "quality": r["quality"], "status": r["status"]} for r in records}


def test_records_have_the_design_s_fields(small: dict, tmp_path: Path):
    frame = bench.run(out=tmp_path / "run", quiet=True, **small)
    assert isinstance(frame, pd.DataFrame)
    assert len(frame) == 4
    records = [json.loads(line) for line in (tmp_path / "run" / "records.jsonl").read_text().splitlines()]
    for r in records:
        assert set(r) >= {"schema", "run_id", "sampler", "steps", "grid", "teacher", "student", "images", "seed", "batch_size"}
        assert set(r) >= {
            "device",
            "precision",
            "mode",
            "counted",
            "time",
            "memory",
            "quality",
            "training",
            "status",
            "environment",
        }
        assert r["status"] == "ok"
        assert r["counted"]["forwards"] == r["counted"]["calls"] == r["counted"]["teacher_equivalents"]
        assert r["time"]["latency_ms"]["n"] == r["time"]["images_per_s"]["n"] == 3
        assert set(r["quality"]) == {"fd_tinyfeatures", "trajectory_error", "label_agreement"}
        assert r["quality"]["fd_tinyfeatures"]["n"] == 50
        assert r["quality"]["trajectory_error"]["n"] == 6
        assert (tmp_path / "run" / "samples" / f"{r['cell']}.png").stat().st_size > 0
    heun = next(r for r in records if r["sampler"] == "heun" and r["steps"] == 3)
    assert heun["counted"]["calls"] == 5
    assert (heun["grid"], heun["end"], heun["last_step"]) == ("karras", 0.01, "denoise")
    # One step is D(sigma_max z) for every solver: the same images, so the same scores.
    one = [r["quality"]["fd_tinyfeatures"]["value"] for r in records if r["steps"] == 1]
    assert one[0] == pytest.approx(one[1], rel=1e-12)
    assert not (tmp_path / "run" / "partial").exists()


def test_a_second_run_measures_nothing(small: dict, tmp_path: Path):
    bench.run(out=tmp_path / "run", quiet=True, **small)
    before = (tmp_path / "run" / "records.jsonl").read_bytes()
    bench.run(out=tmp_path / "run", quiet=True, **small)
    assert (tmp_path / "run" / "records.jsonl").read_bytes() == before


@pytest.mark.parametrize("after", [3, 14, 30])
def test_an_interrupted_run_goes_on_to_the_same_records(
    small: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
):
    bench.run(out=tmp_path / "whole", quiet=True, **small)
    original, left = Executor.sample, [after]

    def interrupted(self, m, indices):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return original(self, m, indices)

    monkeypatch.setattr(Executor, "sample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench.run(out=tmp_path / "cut", quiet=True, **small)
    bench.run(out=tmp_path / "cut", quiet=True, **small)
    assert quality(tmp_path / "cut") == quality(tmp_path / "whole")


def test_kill_9_loses_no_record_and_no_finished_batch(small: dict, tmp_path: Path):
    bench.run(out=tmp_path / "whole", quiet=True, **small)
    program = textwrap.dedent(f"""
        import bench, bench.quality.trajectory
        bench.quality.trajectory.STEPS = 8
        bench.run(out={str(tmp_path / "cut")!r}, quiet=True, **{small!r})
    """)
    process = start(program, tmp_path)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "cut").glob("partial/*/batch-00001.npz")):
        assert process.is_alive(), "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.join()
    kept = list((tmp_path / "cut").glob("partial/*/batch-*.npz"))
    stamps = {p: p.stat().st_mtime_ns for p in kept}
    bench.run(out=tmp_path / "cut", quiet=True, **small)
    assert stamps
    assert quality(tmp_path / "cut") == quality(tmp_path / "whole")


def test_an_interruption_says_how_far_it_came_and_nothing_is_prepared_again(
    small: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    """What was counted is not counted again, nor the path that was converged to, of a teacher without a hash either."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "to_interrupt.py").write_text(
        "import torch\nfrom samplers.analytic import Gaussian\n\n\n"
        "def teacher():\n    return Gaussian(torch.zeros(1, 8, 8), torch.full((1, 8, 8), 0.5))\n"
    )
    options = small | {"teacher": "python:to_interrupt:teacher", "extractor": None, "metrics": ("none",)}
    score, left = Scoring.measure, [2]

    def interrupted(*args):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return score(*args)

    monkeypatch.setattr(Scoring, "measure", interrupted)
    words = [f"--{k.replace('_', '-')}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in options.items() if v]
    code, _, err = call(monkeypatch, capsys, "run", "--out", "run", *words)
    assert code == 130
    assert "interrupted; 1 of 4 records are in run; run the same command again to go on from here" in err
    for name in ("bench.quality.trajectory._solve", "bench.runs.counting.Counting._count"):
        monkeypatch.setattr(name, lambda *_: pytest.fail("prepared again"))
    assert set(bench.run(out="run", quiet=True, **options)["status"]) == {"ok"}
    assert not (tmp_path / "run" / "partial").exists()


def test_what_was_disturbed_or_failed_is_measured_again_alone(one: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    options = one | {"calls": (1, 2, 3), "samplers": ("ddim",)}
    bench.run(out=tmp_path / "run", quiet=True, **options)
    path = tmp_path / "run" / "records.jsonl"
    first, second, third = map(json.loads, path.read_text().splitlines())
    first["time"]["conditions"] = {"valid": False, "reasons": ["other processes"]}
    second = {**second, "status": "failed", "error": "no", "quality": None, "time": None, "counted": None}
    path.write_text("".join(json.dumps(r) + "\n" for r in (first, second, third)))
    before = path.read_text()
    bench.run(out=tmp_path / "run", quiet=True, **options)
    assert path.read_text() == before
    frame = bench.run(out=tmp_path / "run", quiet=True, again=True, **options)
    assert path.read_text().startswith(before)
    assert [json.loads(line)["cell"] for line in path.read_text().splitlines()[3:]] == [first["cell"], second["cell"]]
    assert list(frame["status"]) == ["ok"] * 3
    assert not (frame["time.conditions.valid"] == False).any()  # noqa: E712
    assert [r.status for r in run_plan(make_plan(**options), tmp_path / "run", quiet=True)] == ["ok"] * 3


def test_a_warm_up_that_is_lost_is_made_again(one: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as m:
        m.setattr("bench.runs.scoring.score", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            bench.run(out=tmp_path / "run", quiet=True, **one)
    (rows,) = (tmp_path / "run").glob("partial/*/warm_up.jsonl")
    rows.write_bytes(rows.read_bytes().replace(b"repetitions", b"repetitiouS"))
    assert set(bench.run(out=tmp_path / "run", quiet=True, **one)["status"]) == {"ok"}


def test_the_converged_solution_is_by_no_solver_that_is_looked_up(one: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    load = samplers.registry.load
    monkeypatch.setattr(samplers.registry, "load", lambda name: Odd if name == "unipc" else load(name))
    frame = bench.run(out=tmp_path / "run", quiet=True, **one)
    assert frame["quality.trajectory_error.n"][0] == 6


class Odd(Sampler):
    card = Card("odd", "odd", "none", None, calls=lambda n: 1)

    def sample(self, denoiser, noise, *, steps, labels=None, callback=None):
        return 1e30 * denoiser(noise, 1.0, labels)


def test_what_a_sampler_makes_too_large_is_told(one: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    load = samplers.registry.load
    monkeypatch.setattr(samplers.registry, "load", lambda name: Odd if name == "odd" else load(name))
    frame = bench.run(out=tmp_path / "run", quiet=True, **one | {"samplers": ("odd", "ddim")}).set_index("sampler")
    assert list(frame.loc[["odd", "ddim"], "status"]) == ["failed", "ok"]
    assert "too far from the converged solution" in frame.loc["odd", "error"]


class Broken(Sampler):
    card = Card("broken", "broken", "none", None, True, lambda n: n)
    how: BaseException | None = RuntimeError("out of\n memory")

    def sample(self, denoiser, noise, *, steps, labels=None, callback=None):
        if self.how is not None:
            raise self.how
        return denoiser(noise, 1.0, labels) * float("nan")


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (RuntimeError("out of\n memory"), "RuntimeError: out of memory"),
        (SystemExit("bye"), "SystemExit: bye"),
        (None, "not finite"),
    ],
)
def test_a_failing_sampler_is_a_record_and_the_others_go_on(
    small: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: BaseException | None, why: str
):
    load = samplers.registry.load
    monkeypatch.setattr(samplers.registry, "load", lambda name: Broken if name == "broken" else load(name))
    monkeypatch.setattr(Broken, "how", how)
    frame = bench.run(out=tmp_path / "run", quiet=True, **small | {"samplers": ("broken", "ddim")}).set_index("sampler")
    assert set(frame.loc["broken", "status"]) == {"failed"}
    assert why in frame.loc["broken", "error"].iloc[0]
    assert set(frame.loc["ddim", "status"]) == {"ok"}


def test_a_lost_device_ends_the_process_and_the_next_goes_on_with_the_others(
    small: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    load = samplers.registry.load
    monkeypatch.setattr(samplers.registry, "load", lambda name: Broken if name == "broken" else load(name))
    monkeypatch.setattr(Broken, "how", torch.AcceleratorError("an illegal memory access"))
    plan = small | {"samplers": ("ddim", "broken@1")}
    with pytest.raises(UserError, match=r"the device failed in broken_n1.* the same command goes on"):
        bench.run(out=tmp_path / "run", quiet=True, **plan)
    (first,) = records(tmp_path / "run")
    assert (first["sampler"], first["status"]) == ("broken", "failed")
    frame = bench.run(out=tmp_path / "run", quiet=True, **plan).set_index("sampler")
    assert set(frame.loc["ddim", "status"]) == {"ok"}


def test_scores_do_not_depend_on_the_batch_size(small: dict, tmp_path: Path):
    options = small | {"samplers": ("ddpm", "dpmpp_2m"), "calls": (4,)}
    one = bench.run(out=tmp_path / "a", quiet=True, **options | {"batch_size": 7}).set_index("sampler")
    two = bench.run(out=tmp_path / "b", quiet=True, **options | {"batch_size": 50}).set_index("sampler")
    column = "quality.fd_tinyfeatures.value"
    for sampler in options["samplers"]:
        assert one.loc[sampler, column] == pytest.approx(two.loc[sampler, column], rel=1e-3)


def test_noise_on_the_way_is_no_ode_and_is_recorded_so(small: dict, tmp_path: Path):
    frame = bench.run(out=tmp_path / "run", quiet=True, **small | {"samplers": ("ddim:eta=0.5", "ddim"), "calls": (4,)})
    frame = frame.set_index("sampler")
    assert not frame.loc["ddim:eta=0.5", "deterministic"]
    assert pd.isna(frame.loc["ddim:eta=0.5", "quality.trajectory_error.value"])
    assert frame.loc["ddim", "deterministic"]
    assert frame.loc["ddim", "quality.trajectory_error.value"] > 0


def test_bf16_is_measured_and_differs_by_its_rounding_only(small: dict, tmp_path: Path):
    options = small | {"samplers": ("ddim", "unipc", "ipndm"), "calls": (4,)}
    full = bench.run(out=tmp_path / "a", quiet=True, **options).set_index("sampler")
    half = bench.run(out=tmp_path / "b", quiet=True, precision="bf16", **options).set_index("sampler")
    assert set(half["status"]) == {"ok"}
    column = "quality.trajectory_error.value"
    assert (half[column] - full[column]).abs().between(1e-9, 0.1).all()


def test_a_teacher_s_extractor_must_fit(small: dict, tmp_path: Path):
    with pytest.raises(UserError, match="scores images"):
        bench.run(out=tmp_path / "run", quiet=True, **small | {"extractor": "mnist"})


def test_a_time_limit_keeps_every_repetition(small: dict, tmp_path: Path):
    """With no time at all each call makes one round or one batch; in the end the scores are an unbroken run's."""
    options = small | {"samplers": ("ddim",), "calls": (1,), "trajectory_images": 0}
    bench.run(out=tmp_path / "whole", quiet=True, **options)
    calls = 0
    while not (tmp_path / "cut" / "records.jsonl").exists() and calls < 20:
        calls += 1
        with contextlib.suppress(TimeUpError), time_limit(0):
            bench.run(out=tmp_path / "cut", quiet=True, **options)
    assert calls == 3 + PASSES + 1 + 1  # repetitions, of three batches; overheads; the fourth batch; then the score
    assert quality(tmp_path / "cut") == quality(tmp_path / "whole")


def test_the_plan_says_what_ranks_its_records(small: dict, tmp_path: Path):
    options = small | {"samplers": ("ddim",), "calls": (1,), "metrics": ("fd", "kid"), "trajectory_images": 0}
    bench.run(out=tmp_path / "run", quiet=True, rank_by="kid", **options)
    (found,) = records(tmp_path / "run")
    assert found["rank_by"] == {"metric": "kid", "better": "lower"}
    text = write_report([tmp_path / "run"], tmp_path / "report").read_text()
    assert "kid_tinyfeatures" in text
    with pytest.raises(UserError, match="unknown score to rank by 'precision'"):
        bench.run(out=tmp_path / "other", quiet=True, rank_by="precision", **options)
    assert not (tmp_path / "other").exists()
