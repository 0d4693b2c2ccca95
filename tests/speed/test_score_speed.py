"""Where scoring by Inception spends its time: its own forward is to be 95 % of it at least, at 50,000 images.

Parts are measured at two numbers of images, so that what comes once (loading, the distance) and what comes with each image are
told apart; `share`, in a result's `extra_info`, is the extractor's of that sum at 50,000. Weights are random, in the published
file's format, which changes no time. The committed record:

    pytest tests/speed/test_score_speed.py --benchmark-only --benchmark-json results/speed/score.json
"""

from pathlib import Path

import inception_file
import numpy as np
import pytest

import bench
from bench.quality.elsewhere import PARTS
from samplers.files import sha256

FEW, MANY, WHOLE, LIMIT = 256, 768, 50_000, 0.95


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images as npz, statistics to compare with, and weights that are taken for the published ones."""
    weights = inception_file.write(tmp_path / "weights.pth")
    monkeypatch.setattr("bench.quality.inception.SHA256", sha256(weights))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    for n in (FEW, MANY):
        np.savez(tmp_path / f"{n}.npz", random.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8))
    np.savez(tmp_path / "real.npz", mu=np.zeros(2048), sigma=np.eye(2048))
    return tmp_path


@pytest.mark.benchmark(group="scoring")
def test_share_of_the_extractor(benchmark, files):
    def scored(n: int) -> dict[str, float]:
        options = {"inception_weights": str(files / "weights.pth"), "metrics": ("fid",), "batch_size": 64, "quiet": True}
        return bench.score(files / f"{n}.npz", reference=str(files / "real.npz"), device="cpu", **options).seconds

    scored(FEW)
    few, many = scored(FEW), benchmark.pedantic(scored, (MANY,), rounds=1)
    each = {k: max(many[k] - few[k], 0.0) / (MANY - FEW) for k in PARTS}
    whole = {k: few[k] + (WHOLE - FEW) * each[k] for k in PARTS}
    benchmark.extra_info.update(
        images=[FEW, MANY],
        seconds=[few, many],
        images_whole=WHOLE,
        seconds_whole={k: round(s, 1) for k, s in whole.items()},
        share=round(whole["extractor"] / sum(whole.values()), 4),
        limit=LIMIT,
    )
