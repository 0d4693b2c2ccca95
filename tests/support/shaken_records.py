"""Records that are valid, and as odd as that allows: nulls wherever one may be, any number, any text."""

from typing import Any

from hypothesis import strategies as st
from report_fixture import failed, record

from bench.records.versions import plain, upgrade
from samplers import UserError

OPTIONAL = {
    "grid", "order", "student", "counted", "time", "memory", "quality", "training", "path", "energy", "error", "sha256",
    "cold_start_s", "overhead_fraction", "conditions", "sweep", "sweep_stopped", "load", "compile", "first_image", "total",
    "precision_asked", "precision_reached", "valid", "ci_low", "ci_high", "label_agreement", "trajectory_error",
    "peak_bytes", "gpu", "seconds", "images_seen", "device_name", "cost", "curve",
}  # fmt: skip
"""Keys whose value may be null."""
FIXED = {"schema", "status", "cell", "sampler", "deterministic", "labels"}
NUMBERS = st.one_of(st.sampled_from([0.0, -1.0, 1e-300, 1e300]), st.floats(allow_nan=False, allow_infinity=False))
COUNTS = st.one_of(st.sampled_from([0, 1, 2**63 - 1]), st.integers(0, 100))
TEXTS = st.one_of(st.sampled_from(["|", "<b>x</b>", "`", "$x^$", "a\nb", "![x](y)", "", "x" * 2000]), st.text(max_size=20))


def _whole(sampler: str, steps: int) -> dict[str, Any]:
    """A record in which everything is measured."""
    made = record(sampler, steps, student={"name": "a student", "sha256": "5" * 64})
    spread = made["time"]["images_per_s"]
    point = {"batch_size": 4, "images_per_s": spread, "peak_bytes": 9, "conditions": {"valid": False, "reasons": ["heat"]}}
    made["time"] |= {
        "cold_start_s": {"load": 1.0, "compile": 0.5, "first_image": 0.2, "total": 1.7},
        "conditions": {"valid": False, "reasons": ["heat"]},
        "sweep": [point, point | {"batch_size": 8, "conditions": None}],
        "sweep_stopped": "out of memory",
        "precision_asked": 0.02,
        "precision_reached": 0.03,
    }
    made["training"] = {
        "seconds": 60, "images": 1000, "device": "a CPU", "cost": {"seconds": 100.0, "teacher_forwards": 5},
        "curve": [{"step": 1, "error@0": 0.5}, {"step": 2, "error@0": 0.25, "seen_error": 0.2}],
    }  # fmt: skip
    made["path"] = {"sigmas": [1.0, 0.0], "noises": 2}
    made["energy"] = {"joules_per_image": 0.1, "images": 5, "seconds": 1.0, "counter": "nvml"}
    return made


def _shaken(draw: st.DrawFn, value: Any, key: str = "") -> Any:
    """The value with some of its leaves replaced by others of their type, some of its parts by null."""
    if key in FIXED:
        return value
    if key in OPTIONAL and draw(st.integers(0, 3)) == 0:
        return None
    if isinstance(value, dict):
        return {k: _shaken(draw, v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [_shaken(draw, v) for v in value[: draw(st.integers(0, len(value)))]]
    if value is None or isinstance(value, bool) or draw(st.integers(0, 3)):
        return value
    return draw(TEXTS if isinstance(value, str) else COUNTS if isinstance(value, int) else NUMBERS)


def _valid(shaken: dict[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    """The shaken record, with each part that the schema refuses put back (a null may be right in one and wrong in another)."""
    while True:
        try:
            return plain(upgrade(shaken))
        except UserError as e:
            part = str(e).partition("(")[2].partition(":")[0].partition(".")[0]
            shaken = shaken | {part: made[part]}


@st.composite
def shaken_records(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The records of a run: some cells failed, the samplers few, so that rows meet."""
    found = []
    for i in range(draw(st.integers(1, 5))):
        make = draw(st.sampled_from([record, _whole, lambda *cell: failed(*cell, "why not")]))
        made = make(draw(st.sampled_from(["ddim", "ddpm", "dsno:student=runs/x.json"])), draw(st.integers(1, 20)))
        found.append(_valid(_shaken(draw, made), made) | {"cell": f"cell{i}"})
    return found
