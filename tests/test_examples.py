"""The example of diffusers' recipe trains, and what it saves is a teacher of its plan."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.runs.plan import make_plan
from samplers import load_teacher

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(monkeypatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["diffusers_ddpm.py", *words])
    runpy.run_path(str(EXAMPLES / "diffusers_ddpm.py"), run_name="__main__")


def test_diffusers_ddpm(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / "mnist-28x28-train.zip"  # a folder is read as a zip is
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 28, 28), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{i}.png")
    (folder / "dataset.json").write_text(json.dumps({"labels": [[f"{i}.png", i] for i in range(4)]}))
    plan = make_plan(EXAMPLES / "diffusers_ddpm.yaml")
    example(monkeypatch, "--data", "data", "--steps", "3", "--batch", "2", "--device", "cpu")
    teacher = load_teacher(plan.teacher)
    assert (teacher.name, teacher.shape, teacher.scaling.name) == ("ddpm-mnist32", (1, 32, 32), "eps")
    assert json.loads((tmp_path / "runs/ddpm-mnist32/training.json").read_text())["steps"] == 3
    with pytest.raises(SystemExit) as e:
        example(monkeypatch, "--data", "nowhere")
    assert e.value.code == 2
    assert "error: no data at nowhere" in capsys.readouterr().err
