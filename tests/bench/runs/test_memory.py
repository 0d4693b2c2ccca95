"""Peak memory does not grow with the number of images: they and their features are on the disk."""

from pathlib import Path

from processes import exit_code, start

MEASURE = """
import os, resource
from pathlib import Path
import torch
from samplers import Power
from samplers.analytic import Gaussian
import bench
import bench.runs.session as session
from bench.quality.extractor import Features

os.environ["BENCH_CACHE"] = "cache"

class Flat:
    name, sha256, shape, classes, dimensions = "flat", "0" * 64, (3, None, None), 10, 48
    gives_fid, resize, data, reference_file, reference_images = False, "none", None, None, ()
    def __call__(self, images):
        features = torch.nn.functional.adaptive_avg_pool2d(images.float(), 4).flatten(1)
        return Features(features, features[:, :10])

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def run(n, **scored):
    plan = {"samplers": ["ddim"], "steps": [1], "images": n, "batch_size": 32, "repetitions": 0, "trajectory_images": 0}
    kept = {"save_images": "npz", "out": f"out{n}", "threads": 1, "device": "cpu", "quiet": True}
    assert list(bench.run(teacher=teacher, **plan, **kept, **scored).status) == ["ok"]
    return f"out{n}"

session.find_extractor = lambda *a: Flat()
teacher = Gaussian(torch.zeros(3, 64, 64), torch.ones(3, 64, 64), 0.01, 20.0)
teacher.schedule = Power(0.01, 20.0)
"""


def told(code: str, folder: Path) -> int:
    assert exit_code(start(f"{MEASURE}\n{code}\nPath('told').write_text(str(grown))", folder)) == 0
    return int((folder / "told").read_text())


def test_a_run_of_many_images_takes_the_memory_of_one_of_few(tmp_path):
    """Of 1,792 images more, 22 MB as bytes and 88 MB as floats."""
    code = """
real = next(Path(run(64, metrics=["none"])).glob("images/*.npz"))
scored = {"metrics": ["fd", "kid", "isc"], "extractor": "flat", "reference": str(real)}
run(256, **scored)
grown = -peak()
run(2048, **scored)
grown += peak()
"""
    assert told(code, tmp_path) < 12e6


def test_distances_are_in_blocks(tmp_path):
    """Of 4,000 images to 4,000 they are 64 MB, of which there would be six at once."""
    code = """
from bench.quality.fidelity import precision_recall
few, many = (torch.randn(n, 8, generator=torch.Generator().manual_seed(0)) for n in (1000, 4000))
precision_recall(few, few)
grown = -peak()
precision_recall(many, many)
grown += peak()
"""
    assert told(code, tmp_path) < 200e6
