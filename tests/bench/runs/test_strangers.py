"""Plug-ins that fail, each in its own way: their cells are failed records that say where and why, the others are measured."""

import re
from pathlib import Path

import pytest
from command import call
from run_folders import records

import bench
import bench.runs.executor
from bench.commands.listing import listed, overview
from bench.presentation import markdown
from bench.runs.cells import cells
from bench.runs.plan import Plan
from samplers import UserError

SOURCE = """
import sys, time
import torch
from samplers import Card, Sampler, Solver, UserError

print("hello from my import")

def card(name, **more):
    return Card(name, "toy", "none", None, **more)

class Fine(Sampler):
    card = card("prints")
    def sample(self, denoiser, noise, *, steps, labels=None, callback=None):
        x = noise
        for _ in range(steps):
            print("x" * 100, end="")
            x = denoiser(x, 1.0, labels)
        return self.end(x, noise)
    def end(self, x, noise):
        return x

class Cardless(Sampler):
    sample = Fine.sample

class Stepless(Solver):
    card = card("no_step")

def function(denoiser, noise): ...

class Shape(Fine):
    card = card("shape")
    def end(self, x, noise):
        return x[:1]

class Dtype(Fine):
    card = card("dtype")
    def end(self, x, noise):
        return x.double()

class Nothing(Fine):
    card = card("nothing")
    def end(self, x, noise): ...

class Nan(Fine):
    card = card("nan")
    def end(self, x, noise):
        return x * float("nan")

class Writes(Fine):
    card = card("writes")
    def end(self, x, noise):
        noise.zero_()
        return x

class Relabels(Fine):
    card = card("relabels")
    def sample(self, denoiser, noise, *, steps, labels=None, callback=None):
        labels.fill_(1)
        return denoiser(noise, 1.0, labels)

class Grad(Fine):
    card = card("grad")
    def end(self, x, noise):
        return x.clone().requires_grad_()

class Weights(Fine):
    card = card("weights")
    def sample(self, denoiser, noise, **more):
        for w in denoiser.parameters():
            w.mul_(2)
        return super().sample(denoiser, noise, **more)

class Raises(Fine):
    card = card("raises")
    def end(self, x, noise):
        raise RuntimeError("out of\\n memory")  # the line that is told

class Refuses(Fine):
    card = card("refuses")
    def end(self, x, noise):
        raise UserError("give it a bigger boat")

class Exits(Fine):
    card = card("exits")
    def end(self, x, noise):
        sys.exit(3)

class Hangs(Fine):
    card = card("hangs")
    def end(self, x, noise):
        while True:
            try:
                time.sleep(0.01)
            except Exception:
                pass

class Unready(Fine):
    card = card("unready")
    def prepare(self, denoiser, device, steps):
        raise OSError("no weights")

class Student(Fine):
    card = card("student", training=True)
    student = 7

class Forgetful(Fine):
    card = card("forgetful", training=True)
    def prepare(self, denoiser, device, steps):
        self.network = torch.nn.Conv2d(1, 1, 1)
    def sample(self, denoiser, noise, *, steps, labels=None, callback=None):
        return self.network(noise)

class Bypassing(Forgetful):
    card = card("bypassing", training=True)
    def networks(self):
        return [self.network]
    def sample(self, denoiser, noise, *, steps, labels=None, callback=None):
        return self.network.forward(noise)

class Twice(Fine):
    card = card("twice")
    def end(self, x, noise):
        return self.denoiser(x, 1.0)
    def sample(self, denoiser, noise, **more):
        self.denoiser = denoiser
        return super().sample(denoiser, noise, **more)

class Calls(Fine):
    card = card("calls", calls=lambda n: n if n < 4 else 1 / 0)

class One(Fine):
    card = card("one", calls=lambda n: {1: 1}[n], steps=(1,))

class Odd(Fine):
    card = card("odd")
    grid = 7
"""
LINE = SOURCE[: SOURCE.index("# the line that is told")].count("\n") + 1
CLAIM = r"claimed 1 calls for 1 steps, counted {}, stranger_package.py:\d+; networks\(\) must return each network"
TOLD = {
    "missing": (
        "Missing",
        "'missing' of stranger-package cannot be imported .AttributeError: .* no attribute 'Missing'",
    ),
    "function": ("function", r"is no subclass of samplers.Sampler but <function .*, stranger_package.py:\d+; its author must"),
    "cardless": ("Cardless", r"has no card \(samplers.Card\), stranger_package.py:\d+; its author must mend it"),
    "no_step": ("Stepless", r"lacks step, stranger_package.py:\d+; its author must mend it"),
    "shape": ("Shape", r"it returns images of shape \(1, 1, 8, 8\) for noise of \(16, 1, 8, 8\), stranger_package.py:\d+"),
    "dtype": ("Dtype", r"it returns images of torch.float64 on cpu for noise of torch.float32 on cpu, stranger_package.py:\d+"),
    "nothing": ("Nothing", r"it returns no tensor but a NoneType, stranger_package.py:\d+"),
    "nan": ("Nan", r"images are not finite \(NaN or infinity\), stranger_package.py:\d+"),
    "writes": ("Writes", r"it writes to its noise or labels, stranger_package.py:\d+"),
    "relabels": ("Relabels", r"it writes to its noise or labels, stranger_package.py:\d+"),
    "grad": ("Grad", r"it returns images with a graph of gradients; .*, stranger_package.py:\d+"),
    "raises": ("Raises", f"RuntimeError: out of memory, stranger_package.py:{LINE}$"),
    "refuses": ("Refuses", r"UserError: give it a bigger boat, stranger_package.py:\d+"),
    "exits": ("Exits", r"SystemExit: 3, stranger_package.py:\d+"),
    "hangs": ("Hangs", r"OverdueError: not done after .* s, stranger_package.py:\d+"),
    "unready": ("Unready", r"unready cannot be made ready \(OSError: no weights, stranger_package.py:\d+\); its author must"),
    "student": ("Student", r"student cannot be made ready \(AttributeError: .*\); its author must mend it"),
    "forgetful": ("Forgetful", CLAIM.format(0)),
    "bypassing": ("Bypassing", CLAIM.format(0)),
    "twice": ("Twice", CLAIM.format(2)),
    "odd": ("Odd", r"what it tells of itself cannot be recorded \(ValueError: grid: Input should be a valid string\)"),
    "prints": ("Fine", None),
}
ENTRIES = "\n".join(["[bench.samplers]", *(f"{name} = stranger_package:{kind}" for name, (kind, _) in TOLD.items())])
CALLS = "\ncalls = stranger_package:Calls\none = stranger_package:One\n"


def test_each_fails_alone_and_says_where_and_why(small, install, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench.runs.executor, "LEAST", 0.5)
    install(ENTRIES, SOURCE)
    options = small | {"samplers": (*TOLD, "ddim"), "calls": (1,), "trajectory_images": 0, "sweep": (1, 16)}
    words = [f"--{k.replace('_', '-')}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in options.items()]
    code, out, _ = call(monkeypatch, capsys, "run", "--quiet", "--out", "here", *words)
    assert code == 1
    found = {r["sampler"]: r for r in records(Path("here"))}
    assert {s for s, r in found.items() if r["status"] == "ok"} == {"ddim", "prints"}
    for name, (_, why) in TOLD.items():
        if why:
            assert found[name]["status"] == "failed"
            assert re.search(why, found[name]["error"]), found[name]["error"]
            assert f"failed: {found[name]['cell']}" in "".join(out.splitlines())
            assert str(tmp_path) not in found[name]["error"], "no folder of this machine is told"
    assert "hello" not in out
    assert "xxx" not in out
    assert "| prints |" in Path("here/report/report.md").read_text()
    before = Path("here/records.jsonl").read_bytes()
    code, _, _ = call(monkeypatch, capsys, "run", "--quiet", "--no-report", "--out", "here", *words)
    assert code == 1, "what failed has failed, however often one asks"
    assert Path("here/records.jsonl").read_bytes() == before


def test_one_that_changes_the_teacher_ends_the_run(small, install, tmp_path):
    install("[bench.samplers]\nweights = stranger_package:Weights", SOURCE)
    with pytest.raises(UserError, match=r"sampler 'weights' changes the teacher's weights, .*; leave it out"):
        bench.run(**small | {"samplers": ("weights", "ddim"), "calls": (1,)}, out=tmp_path / "run", quiet=True)


def test_all_brings_in_every_one_of_them_and_a_card_that_cannot_count_too(install):
    install(ENTRIES + CALLS, SOURCE)
    found = {c.sampler: (c.steps, why) for c, why in cells(Plan(samplers=("all",), calls=(5,))).items()}
    assert found["ddim"] == (5, None)
    assert found["cardless"][0] == 5
    assert "has no card" in found["cardless"][1]
    assert re.search(r"'calls' does not say its calls \(ZeroDivisionError: .*, stranger_package.py:\d+\)", found["calls"][1])
    assert {name for name, (_, why) in found.items() if why} == {"missing", "function", "cardless", "no_step", "calls"}


def test_all_are_listed(install):
    install(ENTRIES + CALLS, SOURCE)
    found = {e.name: e for e in listed() if e.kind == "sampler"}
    assert "cannot be imported" in found["missing"].why
    assert "lacks step" in found["no_step"].why
    assert (found["one"].facts["calls for N steps"], found["prints"].facts["calls for N steps"]) == ("1", "N")
    assert "Song" in found["ddim"].facts["paper"]
    assert "no_step" in markdown.render(overview(list(found.values())))
