"""Whole runs of models told a text: prompts are encoded once, and nothing of that is in a pass."""

import json

import pytest
import text_models
import transformers
from command import call

import bench

TEACHER = """
from samplers import Power, Teacher

class Told(Teacher):
    def __init__(self):
        super().__init__("told", (1, 8, 8), 0, Power(0.01, 20.0))

    def prompt(self, texts):
        self.num_classes = len(texts)

    def forward(self, x, sigma, labels=None):
        return x / (1 + sigma**2) + 0.1 * labels[:, None, None, None]

    def networks(self):
        return []
"""


@pytest.fixture
def prompted(small: dict, tmp_path, monkeypatch) -> dict:
    """A plan of two images, and a file of three prompts; run in its folder."""
    monkeypatch.chdir(tmp_path)
    del small["teacher"], small["extractor"]
    (tmp_path / "prompts.txt").write_text("a cat\ntwo dogs\na bird\n")
    small |= {"trajectory_images": 2, "batch_size": 2}
    return small | {"samplers": ("ddim", "heun"), "calls": (3,), "images": 2, "prompts": "prompts.txt"}


def test_a_text_is_encoded_once_and_counted_in_no_pass(prompted: dict, tmp_path, monkeypatch):
    text_models.stable_diffusion().save_pretrained(tmp_path / "sd")
    texts, usual = [], transformers.CLIPTextModel.forward

    def encode(self, input_ids, *args, **told):
        texts.append(len(input_ids))
        return usual(self, input_ids, *args, **told)

    monkeypatch.setattr(transformers.CLIPTextModel, "forward", encode)
    frame = bench.run(out="run", quiet=True, teacher="diffusers:sd", guidance=3.0, **prompted).set_index("sampler")
    assert set(frame["status"]) == {"ok"}, list(frame["error"])
    assert texts == [2, 1], "those of the two images, and none, before anything else"
    assert (frame["counted.calls"] == 3).all()
    assert (frame["counted.forwards"] == 6).all()
    assert frame["counted.teacher_equivalents"].tolist() == pytest.approx([6, 6], rel=1e-3)
    assert (frame["time.decode.latency_ms.median"] > 0).all()
    assert (frame["quality.trajectory_error.value"] > 0).all()


def test_the_doctor_tells_of_a_model_told_a_text(prompted: dict, tmp_path, monkeypatch, capsys):
    text_models.flux().save_pretrained(tmp_path / "flux")
    words = ("doctor", "--device", "cpu", "--teacher", "diffusers:flux:size=16", "--out", "facts.json")
    code, out, err = call(monkeypatch, capsys, *words, "--prompts", "prompts.txt")
    assert code == 0, out + err
    found = json.loads((tmp_path / "facts.json").read_text())
    assert (found["classes"], found["unconditional"], found["predicts"]) == (3, True, "flow")
    assert (found["states"], found["images"]) == ([4, 8, 8], [3, 16, 16])
    assert found["times"] == pytest.approx([0.001, 0.999])
    assert found["decode_seconds"] > 0
    assert "| decoding 1 image |" in out
    code, _, err = call(monkeypatch, capsys, *words)
    assert code == 2
    assert "makes images of texts; give --prompts FILE" in err
    with pytest.raises(bench.UserError, match="reads no prompts; leave out --prompts"):
        bench.run(out="none", quiet=True, teacher="mnist32", **prompted)


def test_prompts_of_a_teacher_of_one_s_own_are_no_classes_of_an_extractor(small: dict, tmp_path, monkeypatch):
    (tmp_path / "told_teacher.py").write_text(TEACHER)
    monkeypatch.chdir(tmp_path)
    options = small | {"teacher": "python:told_teacher:Told", "samplers": ("ddim",), "calls": (3,), "prompts": "a cat"}
    row = bench.run(out="run", quiet=True, **options).iloc[0]
    assert row["status"] == "ok", row["error"]
    assert row["quality.fd_tinyfeatures.value"] > 0
    assert row.isna()["quality.label_agreement.value"]
