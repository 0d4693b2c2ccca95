"""Made-up run folders: plausible records of the shipped samplers without sampling anything."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.records.differences import Z
from bench.records.versions import plain, upgrade

ALL = (
    "ddim", "ddpm", "deis", "dpm_solver_1", "dpm_solver_2", "dpm_solver_3",
    "dpmpp_2m", "dpmpp_3m", "euler", "heun", "ipndm", "unipc",
)  # fmt: skip
ORDER = {"dpm_solver_2": 2, "dpm_solver_3": 3, "dpmpp_2m": 2, "dpmpp_3m": 3, "heun": 2, "ipndm": 3, "deis": 3, "unipc": 3}
A_STEP = {"dpm_solver_2": (2, 1), "dpm_solver_3": (3, 2), "heun": (2, 1)}  # calls of N steps: a N - b
FLOOR = 2.0  # Frechet distance of the converged solution


def spread(median: float) -> dict[str, float]:
    """Repeated values, about a median."""
    ends = {"p10": 0.95, "p90": 1.1, "min": 0.94, "ci_low": 0.98, "ci_high": 1.02}
    return {"median": median, **{k: v * median for k, v in ends.items()}, "n": 20}


def record(sampler: str, steps: int, *, fd: float | None = None, se: float = 0.05, **changes: Any) -> dict[str, Any]:
    """One record; `fd` overrides the made-up Frechet distance, `changes` override top-level keys."""
    r = np.random.default_rng(zlib.crc32(f"{sampler}{steps}".encode()))
    a, b = A_STEP.get(sampler, (1, 0))
    calls, order = a * steps - b, ORDER.get(sampler, 1)
    noisy = sampler == "ddpm"
    if fd is None:
        slack = zlib.crc32(sampler.encode()) % 100 / 100
        fd = FLOOR + (90.0 if calls == 1 else (60 + 60 * slack) * calls ** -(0.6 if noisy else 0.7 + 0.55 * order))
    error = 0.5 if calls == 1 else 0.5 * (1 + zlib.crc32(sampler.encode()) % 7 / 7) * calls**-order + 2e-4
    latency, rate = 2.1 * calls * r.normal(1, 0.03), 900 / calls * r.normal(1, 0.02)
    quality: dict[str, Any] = {
        "fd_mnist": {
            "value": fd, "ci_low": fd - Z * se, "ci_high": fd + Z * se, "n": 500,
            "extractor_sha256": "e" * 64, "reference_sha256": "f" * 64,
        },
        "label_agreement": {"value": 0.97, "ci_low": 0.95, "ci_high": 0.98, "n": 500},
    }  # fmt: skip
    if not noisy:
        quality["trajectory_error"] = {
            "value": error, "ci_low": error * 0.95, "ci_high": error * 1.05, "n": 64,
            "reference": "heun, 128 steps", "reference_error": 1e-4,
        }  # fmt: skip

    values = {
        "schema": 1, "run_id": "mnist32-1a2b3c4d", "cell": f"{sampler}_n{steps}_b64_fp32_eager", "sampler": sampler,
        "family": sampler.split("_")[0], "steps": steps, "grid": "uniform_t", "deterministic": not noisy,
        "order": None if noisy else order, "teacher": {"name": "mnist32", "sha256": "a" * 64}, "student": None,
        "images": 500, "seed": 0, "labels": "balanced", "batch_size": 64, "device": "cpu", "precision": "fp32", "mode": "eager",
        "counted": {
            "calls": calls, "forwards": calls, "flops_per_image": 108_000_000 * calls, "teacher_equivalents": float(calls),
        },
        "time": {
            "clock": "perf_counter", "latency_ms": spread(latency), "images_per_s": spread(rate),
            "cold_start_s": None, "overhead_fraction": 0.005 * (2 + order) * r.normal(1, 0.2),
        },
        "memory": {"peak_bytes": 250_000_000}, "quality": quality, "training": None, "status": "ok", "error": None,
        "environment": {"python": "3.11.9", "packages": {"torch": "2.15.0"}, "cpu": "A CPU", "threads": 2, "gpu": None},
        **changes,
    }  # fmt: skip
    return plain(upgrade(values))


def failed(sampler: str, steps: int, why: str, status: str = "failed") -> dict[str, Any]:
    """A record of a cell without a result."""
    nothing = dict.fromkeys(("counted", "time", "memory", "quality"))
    return record(sampler, steps, **nothing, status=status, error=why)


def write_run(
    folder: Path, records: list[dict[str, Any]], influence: dict[str, np.ndarray] | None = None, images: bool = True
) -> Path:
    """A run folder with the records, strips of made-up images, and influence values by cell."""
    (folder / "samples").mkdir(parents=True)
    (folder / "influence").mkdir()
    (folder / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    clean = np.kron(np.random.default_rng(0).integers(0, 255, (4, 40)), np.ones((8, 8)))  # ten images of 32 x 32
    for i, r in enumerate(records if images else []):
        noise = np.random.default_rng(i).normal(0, 100 / r["steps"], clean.shape)
        strip = (clean + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(strip).save(folder / "samples" / f"{r['cell']}.png")
    if images:
        Image.fromarray(clean.astype(np.uint8)).save(folder / "samples" / "reference.png")
    for cell, values in (influence or {}).items():
        np.save(folder / "influence" / f"{cell}.npy", values.astype(np.float32))
    return folder


def full_run(folder: Path) -> Path:
    """All shipped samplers at every number of calls from 1 to 20 that they can take, and at about 50; one failed cell."""
    records = []
    for sampler in ALL:
        a, b = A_STEP.get(sampler, (1, 0))
        records += [record(sampler, n) for n in (*range(1, 21), (50 + b + a - 1) // a) if a * n - b <= 20 or n * a - b >= 50]
    records.append(failed("unipc", 100, "out of memory: tried to allocate 2 GiB\nfree some"))
    shared = np.random.default_rng(1).normal(0, 1.1, 500)
    influence = {
        r["cell"]: shared + np.random.default_rng(zlib.crc32(r["cell"].encode())).normal(0, 0.2, 500)
        for r in records
        if r["status"] == "ok"
    }
    return write_run(folder, records, influence)
