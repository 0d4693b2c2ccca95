""" "Bring your model", in README and docs/teachers.md, runs as printed, on small models saved by the libraries themselves."""

import re
import shlex
import zipfile
from pathlib import Path

import command
import diffusers
import inception_file
import numpy as np
import pickled
from diffusers_models import autoencoder, dit, unet
from PIL import Image
from text_models import stable_diffusion_xl

from bench.records.frame import load_records
from samplers.files import sha256
from samplers.models.foreign.edm_unets import SongUNet
from samplers.models.foreign.sizes import SongSizes

ROOT = Path(__file__).parent.parent
SECTIONS = [(ROOT / p).read_text().split("## Bring your model")[1].split("\n## ")[0] for p in ("docs/teachers.md", "README.md")]
COMMANDS = [shlex.split(line, comments=True)[1:] for s in SECTIONS for line in s.splitlines() if line.startswith("bench ")]
SMALL = shlex.split("--calls 2 --images 4 --trajectory-images 2 --repetitions 3 --device cpu --threads 1 --quiet --no-report")


def denoiser() -> str:
    """The class that docs/teachers.md prints, with a body."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "teachers.md").read_text(), re.DOTALL)
    body = "return x / (1 + torch.as_tensor(sigma).reshape(-1, 1, 1, 1) ** 2)"
    return "import torch\n\n" + re.sub(r"return \.\.\. .*", body, code)


def pickle(path: Path) -> None:
    sizes = {"channels": 1, "outputs": 1, "image_size": 8, "classes": 0, "width": 8, "multipliers": [1, 1], "blocks": 1}
    told = {"img_resolution": 8, "in_channels": 1, "out_channels": 1, "model_channels": 8, "channel_mult": [1, 1]}
    told |= {"num_blocks": 1, "attn_resolutions": [], "label_dim": 0}
    network = pickled.shaken(SongUNet(SongSizes(**sizes, attention=[])))
    ema = pickled.wrapped(network, "SongUNet", "EDMPrecond", told, sigma_min=0, sigma_max=float("inf"), sigma_data=0.5)
    pickled.dump(path, pickled.EasyDict(ema=ema))


def zipped(path: Path) -> None:
    """Three random images."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    with zipfile.ZipFile(path, "w") as archive:
        for i, image in enumerate(pixels):
            with archive.open(f"{i}.png", "w") as f:
                Image.fromarray(image).save(f, "PNG")


def test_its_commands_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("bench.quality.trajectory.STEPS", 4)
    diffusers.DDPMPipeline(unet(), diffusers.DDPMScheduler()).save_pretrained("my-model")
    diffusers.DDPMPipeline(unet(num_class_embeds=11), diffusers.DDPMScheduler()).save_pretrained("my-classes")
    diffusers.DiTPipeline(dit(), autoencoder(), diffusers.DDIMScheduler()).save_pretrained("my-dit")
    stable_diffusion_xl().save_pretrained("my-sdxl")
    (tmp_path / "prompts.txt").write_text("a cat\ntwo dogs\n")
    pickle(tmp_path / "my-edm.pkl")
    (tmp_path / "my_module.py").write_text(denoiser())
    weights = inception_file.write(tmp_path / "hub" / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("bench.quality.inception.SHA256", sha256(weights))
    for name in ("my-images.zip", "my-samples.zip"):
        zipped(tmp_path / name)
    capsys.readouterr()
    for i, words in enumerate(COMMANDS):
        more = ["--out", f"{i:02}", *SMALL] if words[0] == "run" else []
        code, out, err = command.call(monkeypatch, capsys, *words, *more)
        assert code == 0, f"{words}: {out}{err}"
    runs = [load_records([p.parent]) for p in sorted(tmp_path.glob("*/records.jsonl"))]
    assert [set(r["teacher.name"]) for r in runs] == [
        {"my-model"},
        {"my-classes, guidance 2"},
        {"my-dit, guidance 4"},
        {"my-sdxl, guidance 5"},
        {"my-edm"},
        {"my_module:my_denoiser"},
        {"my-model"},
        {"my-model"},
    ]
    assert (runs[6]["quality.fid_inception.value"] > 0).all()
    assert ["time.decode.latency_ms.median" in r for r in runs] == [i in (2, 3) for i in range(8)]
    assert all((r["quality.trajectory_error.value"] > 0).all() for r in runs)
