import io
import json
import os
import shutil
from pathlib import Path

import pytest
from command import call
from rehearsal import shrunk
from rich.console import Console

import bench
from bench.commands.listing import listed, overview
from bench.machine.energy import CpuEnergy
from bench.machine.peak_rates import MATRIX
from bench.presentation import terminal
from bench.presentation.document import Document
from samplers.models.zoo import ZOO


def table_rows(text: str) -> list[list[str]]:
    """The cells of the rows of Markdown tables."""
    return [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "--samplers", "ddimm"], "unknown sampler 'ddimm'; did you mean 'ddim'?"),
        (["run", "--samplers", "ddim:eta=lots"], "eta must be a number"),
        (["run", "--teacher", "mnist23"], "unknown teacher 'mnist23'"),
        (["run", "--metrics", "kidd"], "unknown metric 'kidd'; did you mean 'kid'?"),
        (["run", "--grid", "karas"], "did you mean 'karras'?"),
        (["run", "--calls", "five"], "--calls: 'five' is not a comma-separated list of whole numbers"),
        (["run", "--device", "tpu"], "device 'tpu'"),
        (["run", "--plan", "nowhere.yaml"], "cannot read the plan nowhere.yaml"),
        (["run", "--plan", "cifar11"], "unknown plan 'cifar11'; did you mean 'cifar10'?"),
        (["run", "--zoo", "nowhere"], "no folder nowhere to find cards in"),
        (["run", "--images", "some"], "--images'"),
        (["run", "--flag"], "--flag"),
        (["run", "--mode", "compiled"], "did you mean 'compile'?"),
        (
            ["run", "--mode", "graph", "--device", "cpu"],
            "mode graph needs a CUDA device; use --mode eager",
        ),
        (["run", "--time-precision", "2 percent"], "time_precision must be a number, or a percentage"),
        (["run", "--time-precision", "200%"], "time_precision must be below 1, got '200%'"),
        (["run", "--time-budget", "-1"], "time_budget must be above 0, got -1"),
        (["run", "--time-budget", "nan"], "time_budget must be a finite number"),
        (["run", "--steps", ""], "--steps is given without a value"),
        (["run", "--sweep", ","], "--sweep is given without a value"),
        (["run", "--threads", "1000000000"], "threads must be at most 4096"),
        (["run", "--calls", "10000000"], "calls must be at most 10000, got 10000000"),
        (["run", "--calls", "5", "--steps", "5"], "steps and calls are both given"),
        (["run", "--calls", "5,10,20", "--steps", "5"], "steps and calls are both given"),
        (["run", "--plan", "x" * 300], "unknown plan"),
        (["run", "--plan", "x\n" * 300 + ".yaml"], "cannot read the plan"),
        (["run", "--grid", "x\n" * 10**5], "unknown grid"),
        (["run", "--sweep", "4,1"], "sweep must be increasing batch sizes"),
        (["run", "--device", "x" * 10**5], "use cpu, cuda, cuda:N or auto"),
        (["run", "--device", "cpu:3"], "device 'cpu:3'"),
        (["run", "--teacher", "x" * 10**4], "File name too long"),
        (["run", "--teacher", "\0"], "choose another --out"),
        (["gate", "--stored", "x" * 10**4], "File name too long"),
        (["report", "nowhere"], "no records at nowhere"),
        (["train", "techer"], "did you mean 'teacher'?"),
        (["train", "teacher", "--recipe", "mnist23"], "unknown recipe 'mnist23'; did you mean 'mnist32'?"),
        (["train", "teacher", "--data", "nowhere"], "no data at nowhere"),
        (["train", "extractor", "--data", "nowhere"], "no data at nowhere"),
        (["campaign", "--recipe", "mnist32", "--data", "nowhere"], "no data at nowhere/mnist-28x28-train.zip"),
        (["campaign", "--recipe", "cifar10", "--data", "nowhere"], "no data at nowhere"),
        (["pack", "parts", "data"], "No such command 'pack'"),
        (["compare", "HEAD", "--effect", "5"], "effect must be below 1, got 5.0"),
        (["compare", "HEAD", "--calls", "0"], "calls must be at least 1, got 0"),
        (["compare", "HEAD", "--samplers", "ddim@x"], "samplers: ddim@x: write a step count after the @"),
        (["profile", "--batch-sizes", "4,1"], "batch_sizes must be increasing"),
        (["profile", "--repetitions", "5"], "repetitions must be at least 6"),
        (["compare", "HEAD"], "not a git repository"),
        (["doctor", "--device", "tpu"], "device 'tpu'"),
        (["doctor", "--teacher", "mnist23"], "unknown teacher 'mnist23'"),
        (["doctor", "--no-measure", "--out", "machine.json"], "leave out --no-measure"),
        (["nonsense"], "nonsense"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, _, err = call(monkeypatch, capsys, *words)
    assert code == 2
    assert told in err
    assert len(err.strip().splitlines()) == 1
    assert len(err) < 620
    assert not list(tmp_path.glob("runs/*")), "a mistake leaves nothing behind"


def test_run_report_and_resume_from_the_command_line(small, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [f"--{k.replace('_', '-')}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in small.items()]
    code, out, _ = call(monkeypatch, capsys, "run", "--quiet", "--out", "here", *words)
    assert code == 0
    assert "4 records" in out
    assert Path("here/report/report.md").stat().st_size > 0
    code, _, err = call(monkeypatch, capsys, "run", "--quiet", "--out", "here", *words, "--seed", "1")
    assert code == 2
    assert "another plan" in err
    code, out, _ = call(monkeypatch, capsys, "report", "here", "--out", "there")
    assert code == 0
    assert Path("there/report.md").read_text() == Path("here/report/report.md").read_text()


def test_a_precision_that_is_not_reached_is_told_and_what_was_measured_is_kept(small, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = small | {"samplers": ("ddim",), "calls": (1,), "time_precision": "0.0001%", "time_budget": 0.001}
    words = [f"--{k.replace('_', '-')}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in options.items()]
    code, out, _ = call(monkeypatch, capsys, "run", "--quiet", "--no-report", "--out", "here", *words)
    assert code == 0
    told = " ".join(out.split())
    assert "1 record in" in told
    assert "precision: 1 of 1 cells did not reach the one asked for within their budget" in told
    assert "no interval); raise --time-budget" in told
    (record,) = [json.loads(line) for line in Path("here/records.jsonl").read_text().splitlines()]
    assert (record["status"], record["time"]["precision_reached"]) == ("ok", None)
    assert record["time"]["latency_ms"]["n"] == 3


def test_a_file_where_the_folder_should_be(small, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("x")
    words = [f"--{k.replace('_', '-')}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in small.items()]
    code, _, err = call(monkeypatch, capsys, "run", "--quiet", "--out", "taken", *words)
    assert code == 2
    assert "choose another --out" in err


@pytest.mark.parametrize("words", [["list"], ["doctor", "--no-measure"]])
def test_what_there_is(words, monkeypatch, capsys):
    code, out, _ = call(monkeypatch, capsys, *words)
    assert code == 0
    assert "mnist32" in out
    assert "measured" not in out


def test_a_teacher_is_told_of(monkeypatch, capsys):
    code, out, _ = call(monkeypatch, capsys, "doctor", "--device", "cpu", "--teacher", "mnist32")
    assert code == 0
    told = {row[0]: row[1] for row in table_rows(out)}
    assert (told["states"], told["classes"], told["parameters"], told["predicts"]) == (
        "1x32x32",
        "10, or none",
        "1,229,524",
        "v",
    )
    assert told["two calls"] == "denoise"
    assert told["a forward of 64 images"].endswith("ms on cpu")


def test_the_machine_is_measured_and_kept(tmp_path, monkeypatch, capsys):
    for name in ("SECONDS", "CEILING_SECONDS", "PRODUCTS"):
        monkeypatch.setattr(f"bench.machine.noise.{name}", 1e-3)
    monkeypatch.setitem(MATRIX, "cpu", 16)
    monkeypatch.setattr("bench.machine.peak_rates.COPIED", 2**16)
    code, out, _ = call(monkeypatch, capsys, "doctor", "--device", "cpu", "--out", str(tmp_path / "results" / "machine.json"))
    assert code == 0
    found = json.loads((tmp_path / "results" / "machine.json").read_text())
    assert found.keys() == {"schema", "device", "timer", "noise", "matrix_flops_per_s", "copy_bytes_per_s", "gpu"} | {
        "threads",
        "governor",
        "cohort",
        "environment",
    }
    told = {row[0]: row[1] for row in table_rows(out)}
    assert told["to be found in a minute"] == "unknown (too few runs)"
    assert told["fastest copy"] == f"{found['copy_bytes_per_s'] / 1e9:.3g} GB/s"
    assert "GPU clock" not in told


@pytest.mark.parametrize(("joules", "told"), [([5], "joules an image"), (None, "no energy in records")])
def test_doctor_says_whether_energy_can_be_read(joules, told, monkeypatch):
    monkeypatch.setattr(CpuEnergy, "read", lambda self: joules)
    (row,) = [row for row in bench.doctor(measure=False, quiet=True)["checks"] if row[0] == "energy of the CPU"]
    assert told in row[2]


@pytest.mark.parametrize("name", ["mnist.safetensors", "mnist_reference.safetensors"])
def test_doctor_finds_damaged_files_of_an_extractor(name, tmp_path, monkeypatch, capsys):
    for path in ZOO.glob("mnist[._]*"):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr("bench.commands.doctor.zoo", lambda kind: [tmp_path / "mnist.json"] if kind == "extractor" else [])
    assert not bench.doctor(measure=False, quiet=True)["broken"]
    (tmp_path / name).write_bytes(b"damaged")
    code, out, err = call(monkeypatch, capsys, "doctor", "--no-measure", "--quiet")
    assert code == 2
    assert "does not load" in out
    assert f"{name}: SHA-256 is" in err


def shown(width: int, document: Document) -> list[str]:
    """The lines of a document on a terminal."""
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    terminal.show(document, console)
    return console.file.getvalue().splitlines()


def test_the_list_fits_80_columns_with_whole_names():
    found = listed()
    lines = shown(80, overview(found))
    assert max(map(len, lines)) <= 80
    assert {e.name for e in found} <= {line.partition(" ")[0] for line in lines}
    rows = {line.split()[0]: line.split() for line in reversed(lines) if line.strip()}
    assert rows["heun"] == ["heun", "2", "2N", "-", "1", "karras", "no"]
    assert rows["dsno"] == ["dsno", "1", "no", "yes"]
    assert " ".join(rows["consistency"]) == "consistency N logsnr from 2 steps yes"
    assert rows["dsno-mnist32"][:4] == ["dsno-mnist32", "dsno", "1", "mnist32"]
    assert rows["kd-mnist32"][:4] == ["kd-mnist32", "knowledge_distillation", "1", "mnist32"]


def test_a_card_is_told_in_full(monkeypatch, capsys):
    code, out, _ = call(monkeypatch, capsys, "list", "unipc")
    told = {row[0]: row[1] for row in table_rows(out)}
    assert code == 0
    assert (told["grid"], told["end at 10 steps"], told["last step"]) == ("logsnr", "0.0105", "stop")
    assert told["options"] == "variant=bh1, grid, end, last"
    assert "arXiv 2302.04867" in told["paper"]
    code, out, _ = call(monkeypatch, capsys, "list", "dsno")
    assert "## dsno, sampler (--samplers)" in out
    assert "## dsno, trainer (bench train)" in out
    code, _, err = call(monkeypatch, capsys, "list", "unipcc")
    assert code == 2
    assert "unknown name 'unipcc'; did you mean 'unipc'?" in err
    code, _, err = call(monkeypatch, capsys, "list", "k_diffusion:sample_dpm_adaptive")
    assert code == 2
    assert "k_diffusion:sample_dpm_adaptive is no sampler here: its calls follow from tolerances" in err
    assert bench.list_("unipc")["grid"].to_list() == ["logsnr"]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda w: w.write_bytes(w.read_bytes()[:100]), "SHA-256 is"),
        (lambda w: w.write_bytes(b"\x80\x04pickle"), "SHA-256 is"),
        (lambda w: w.unlink(), "no weights at"),
    ],
)
def test_damaged_weights_are_one_line_and_exit_code_2(damage, told, small, tmp_path, monkeypatch, capsys):
    card, weights = Path(small["teacher"]), Path(small["teacher"]).with_suffix(".safetensors")
    for path in (card, weights):
        shutil.copy(path, tmp_path)
    damage(tmp_path / weights.name)
    code, _, err = call(monkeypatch, capsys, "run", "--teacher", str(tmp_path / card.name), "--out", str(tmp_path / "run"))
    assert code == 2
    assert told in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_campaign_from_the_command_line(tmp_path, monkeypatch, capsys):
    """One slice of no time is one update of the first stage; the same command goes on, from what came home too."""
    monkeypatch.setattr("samplers.training.precision.available_cores", lambda: 1)
    monkeypatch.setattr("samplers.models.zoo._trained", [])
    recipe = shrunk("cifar10", tmp_path / "data")
    words = ["campaign", "--recipe", str(recipe), "--data", str(recipe.parent), "--slice", "0", "--device", "cpu", "--quiet"]
    code, out, _ = call(monkeypatch, capsys, *words, "--out", str(tmp_path / "a"), "--from", str(tmp_path / "home"))
    assert code == 0
    assert "0 of 9 stages done; extractor is next" in out
    (tmp_path / "a" / "export").rename(tmp_path / "home")
    there = ["--out", str(tmp_path / "b"), "--from", str(tmp_path / "home"), "--export", str(tmp_path / "new")]
    code, out, _ = call(monkeypatch, capsys, *words, *there)
    assert code == 0
    assert "1 of 9 stages done; teacher is next" in out
    assert (tmp_path / "new" / "contents.json").exists()


def test_trainings_count_as_shipped_where_they_are_told_of(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("samplers.models.zoo._trained", [])
    monkeypatch.chdir(tmp_path)
    words = ["run", "--teacher", "tiny", "--extractor", "features", "--samplers", "ddim", "--calls", "1", "--images", "8"]
    words += [
        "--trajectory-images",
        "0",
        "--batch-size",
        "4",
        "--repetitions",
        "3",
        "--device",
        "cpu",
        "--quiet",
        "--no-report",
    ]
    code, _, err = call(monkeypatch, capsys, *words)
    assert code == 2
    assert "unknown teacher 'tiny'" in err
    code, out, _ = call(monkeypatch, capsys, *words, "--zoo", str(Path(tiny["teacher"]).parent))
    assert code == 0
    assert "1 record in" in out


@pytest.mark.parametrize(("own", "kept"), [(None, "30000"), ("7", "7")])
def test_waiting_threads_sleep_soon_unless_the_user_says_how(own: str | None, kept: str, monkeypatch: pytest.MonkeyPatch):
    from bench.cli import main

    monkeypatch.setattr("sys.argv", ["bench", "--version"])
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    if own is not None:
        monkeypatch.setenv("GOMP_SPINCOUNT", own)
    with pytest.raises(SystemExit) as e:
        main()
    assert not e.value.code
    assert os.environ["GOMP_SPINCOUNT"] == kept
