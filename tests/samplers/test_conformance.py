"""All that ships keeps the protocol, and each of these defects is found by the check it is for, at its line."""

import re
from pathlib import Path

import broken_samplers
import pytest

import samplers
from samplers import UserError
from samplers.conformance.verify import CHECKS, verify
from samplers.solvers import gits


@pytest.fixture(scope="module")
def teacher():
    return samplers.load_teacher("mnist32")


@pytest.mark.parametrize("name", samplers.names())
def test_all_that_ships_passes(name, teacher):
    found = verify(name, teacher)
    assert [f.check for f in found] == list(CHECKS)
    assert not [f for f in found if f.passed is False]
    none = {f.check for f in found if f.passed is None}
    card = samplers.card(name)
    assert none == ({"order", "device"} if card.training else {"order"} if card.order is None else set())


@pytest.mark.parametrize(
    "spec",
    [
        "ddim:eta=0.5",
        "dpmpp_3m:variant=corrected",
        "unipc:variant=bh2",
        "heun:grid=logsnr:last=stop",
        "heun:churn=10",
        "sa_solver:tau=0",
    ],
)
def test_so_do_other_settings(spec):
    assert not [f for f in verify(spec) if f.passed is False]


def test_a_grid_of_fewer_steps_has_no_order_to_measure(monkeypatch):
    monkeypatch.setattr(gits, "NOISES", 4)
    found = verify("ipndm:grid=gits")
    assert {f.check for f in found if f.passed is not True} == {"order"}
    assert not [f for f in found if f.passed is False]


SOURCE = Path(broken_samplers.__file__).read_text()
DEFECTS = {
    "shape": ("images", "it returns images of shape"),
    "unchecked": ("refusals", "it takes 0 steps; call samplers.protocol.check"),
    "calls": ("calls", "claimed 2 calls for 1 steps, counted 1"),
    "remembers": ("determinism", "another run on the same noise gives other images"),
    "batch": ("batch", "an image alone differs by"),
    "labels": ("labels", "a call gets no labels"),
    "callback": ("callback", r"told \[\] of 5 steps"),
    "order": ("order", r"the card says order 2, measured 0\.99"),
    "wrong": ("order", "away from the exact image"),
    "dtype": ("dtype", "torch.float32 for noise of torch.float64"),
    "device": ("device", "on a GPU the host waits"),
    "waits": ("waiting", r"it waits for a tensor's value \(\d+ times in 5 steps\)"),
    "writes": ("inputs", "it writes to its noise or labels"),
    "draws": ("generator", "it draws from torch's global generator"),
    "numpy": ("generator", "numpy or random"),
    "seeds": ("generator", "it seeds torch's global generator"),
    "seeding": ("generator", "it seeds torch's global generator"),
    "unsaid": ("generator", "it draws noise, which its card does not say"),
    "generates": ("generator", "it draws noise, which its card does not say"),
    "same": ("determinism", "other noise gives the same images"),
    "later": ("callback", "what it told of step 0 it wrote to afterwards"),
    "graph": ("images", "it returns images with a graph of gradients"),
    "hides": ("NaN", "a NaN of the network is hidden"),
    "busy": ("overhead", "121 operators a step of its own, 100 at most"),
    "prints": ("output", r"it prints \d+ characters"),
    "hangs": ("images", r"OverdueError: not done after 0\.5 s"),
    "raises": ("images", "RuntimeError: out of memory"),
    "exits": ("images", "SystemExit: 3"),
}
ALONE = {"unchecked", "calls", "labels", "callback", "order", "device", "draws", "numpy", "hides", "busy", "prints"}
"""Of them those that touch nothing else."""


def installed(install) -> None:
    kinds = {name: name.capitalize() for name in ("fine", *DEFECTS)}
    install("\n".join(["[bench.samplers]", *(f"{k} = stranger_package:{v}" for k, v in kinds.items())]), SOURCE)


def test_a_strangers_solver_without_a_defect_passes(install):
    installed(install)
    assert not [f for f in verify("fine") if f.passed is False]


@pytest.mark.parametrize("name", DEFECTS)
def test_each_defect_is_found(install, name):
    installed(install)
    check, told = DEFECTS[name]
    failed = {f.check: f for f in verify(name, seconds=0.5 if name == "hangs" else 60) if f.passed is False}
    assert re.search(told, failed[check].reason), failed[check]
    marked = [n for n, line in enumerate(SOURCE.splitlines(), 1) if line.endswith(f"  # {name}")]
    lines = SOURCE.splitlines()
    begin = lines.index(next(v for v in lines if v.startswith(f"class {name.capitalize()}("))) + 1
    place, _, line = failed[check].line.partition(":")
    assert place == "stranger_package.py"
    assert int(line) in (marked or range(begin, begin + 8))
    if name in ALONE:
        assert set(failed) == {check}, "and by no other"


def test_after_one_that_hangs_the_others_are_not_run(install):
    installed(install)
    first, *others = verify("hangs", seconds=0.5)
    assert not first.passed
    assert {(f.passed, f.reason) for f in others} == {(None, "not run, for images took too long")}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("raise OSError('no\\n weights')", "OSError: no weights"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("time.sleep(60)", r"OverdueError: not done after 0\.5 s"),
    ],
)
def test_one_that_cannot_get_ready_has_failed(install, body, told):
    own = f"class Unready(Fine):\n    card = named('unready')\n\n    def prepare(self, *_):\n        {body}\n"
    install("[bench.samplers]\nunready = stranger_package:Unready", SOURCE + own)
    first, *others = verify("unready", seconds=0.5)
    assert (first.check, first.passed) == ("images", False)
    assert re.fullmatch(f"it cannot get ready for 1 steps: {told}", first.reason)
    assert first.line == f"stranger_package.py:{len((SOURCE + own).splitlines())}"
    assert {(f.passed, f.reason) for f in others} == {(None, "not run, for it cannot get ready")}


def test_a_student_needs_its_teacher():
    with pytest.raises(UserError, match="dsno carries a student; name its teacher"):
        verify("dsno")
