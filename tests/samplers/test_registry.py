"""Samplers by name: ours, a stranger's, with options; and what their cards claim."""

import re

import pytest
import torch
from exact import Gaussian

import samplers
from bench.runs.cells import Cell, cells
from bench.runs.plan import Plan
from samplers import Card, Sampler, UserError
from samplers.errors import PluginError
from samplers.registry import load_spec, refused
from samplers.schedule import GRIDS

OURS = {
    "ddim",
    "ddpm",
    "deis",
    "dpm_solver_1",
    "dpm_solver_2",
    "dpm_solver_3",
    "dpmpp_2m",
    "dpmpp_3m",
    "euler",
    "heun",
    "ipndm",
    "unipc",
}


def test_names():
    assert set(samplers.names()) >= OURS
    assert samplers.names() == sorted(samplers.names())


@pytest.mark.parametrize(
    ("name", "near"), [("dimm", "ddim"), ("huen", "heun"), ("dpmpp2m", "dpmpp_2m"), ("DDIM", None), ("uni_pc", "unipc")]
)
def test_unknown_sampler_names_the_nearest(name, near):
    with pytest.raises(UserError, match=f"unknown sampler '{name}'") as e:
        samplers.get(name)
    assert near is None or f"did you mean '{near}'?" in str(e.value)
    assert "known: " in str(e.value)
    assert "dpmpp_3m" in str(e.value)


def test_options():
    assert samplers.get("ddim").eta == 0.0
    assert samplers.get("ddim").grid == "uniform_t"
    sampler = samplers.get("ddim:grid=karras:eta=1")
    assert (sampler.eta, sampler.grid) == (1.0, "karras")
    assert samplers.get("heun").grid == "karras"
    assert samplers.get("heun:grid=logsnr").grid == "logsnr"


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("ddim:et=1", "unknown option of ddim 'et'; did you mean 'eta'"),
        ("ddim:eta", "write the option as eta=VALUE"),
        ("ddim:eta=big", "eta must be a number, not 'big'"),
        ("ddim:eta=", "eta must be a number"),
        ("ddim:eta=1.5", r"eta must be in \[0, 1\]"),
        ("ddim:eta=nan", r"eta must be in \[0, 1\]"),
        ("heun:grid=karas", "unknown grid 'karas'; did you mean 'karras'"),
        ("heun:grid=3", "unknown grid '3'"),
        ("heun:eta=0", "unknown option of heun 'eta'"),
        ("ddpm:eta=0", "unknown option of ddpm 'eta'"),
        ("dim:eta=1", "unknown sampler 'dim'; did you mean 'ddim'"),
    ],
)
def test_bad_options_are_one_line(spec, match):
    with pytest.raises(UserError, match=match) as e:
        samplers.get(spec)
    assert "\n" not in str(e.value)


STRANGER = """
from samplers import Card, Sampler

class Stranger(Sampler):
    card = Card(name="stranger", family="toy", paper="none", order=None, deterministic=True, calls=lambda n: n)

    def __init__(self, *, points: int = 4, kind: str = "plain"):
        self.points, self.kind = points, kind

    def sample(self, denoiser, noise, *, steps, labels=None, callback=None):
        x = noise
        for _ in range(steps):
            x = denoiser(x, 1.0, labels)
        return x
"""


def test_a_strangers_sampler_is_found(install):
    install("[bench.samplers]\nstranger = stranger_package:Stranger", STRANGER)
    assert "stranger" in samplers.names()
    assert set(samplers.names()) >= OURS
    assert samplers.card("stranger").family == "toy"
    sampler = samplers.get("stranger:points=7:kind=3")
    assert (sampler.points, sampler.kind) == (7, "3")
    assert type(sampler.points) is int
    assert isinstance(sampler, Sampler)
    assert sampler.networks() == []
    z = samplers.noise(0, range(2), (6, 1, 1), dtype=torch.float64)
    assert torch.equal(sampler.sample(Gaussian(), z, steps=1), Gaussian()(z, 1.0))


@pytest.mark.parametrize(
    ("entry", "source", "told"),
    [
        ("stranger_package:Missing", STRANGER, "AttributeError: module 'stranger_package' has no attribute 'Missing'"),
        ("stranger_package:Stranger", "\nimport a_library_nobody_has\n", "ModuleNotFoundError: .*, stranger_package.py:2"),
        ("no_such_module_at_all:Stranger", STRANGER, "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("stranger_package:Stranger", "raise RuntimeError('no\\ndriver' * 1000)\n", "RuntimeError: .*_package.py:1"),
        ("stranger_package:Stranger", "import sys; sys.exit(7)\n", "SystemExit: 7, stranger_package.py:1"),
        ("stranger_package:Stranger", "raise BaseException('no\\ndriver')\n", "BaseException: no driver, .*_package.py:1"),
        ("stranger_package:Stranger", "class E(Exception):\n    def __str__(self): 1 / 0\nraise E\n", "E: .*_package.py:3"),
        ("stranger_package:Stranger", "x = 1\ndef broken(:\n", "SyntaxError: .*, stranger_package.py:2"),
        ("stranger_package:Stranger", "import samplers\nsamplers.get('nobody')", "ImportError: unknown .*_package.py:2"),
        ("stranger_package:Stranger", "while True: pass", "OverdueError: not done after 0.1 s, stranger_package.py:1"),
    ],
)  # fmt: skip
def test_a_plugin_that_does_not_import_is_one_line_and_hurts_no_other(install, monkeypatch, entry, source, told):
    install(f"[bench.samplers]\nstranger = {entry}", source)
    monkeypatch.setattr("samplers.registry.LOADING", 0.1 if "while" in source else 120)
    why = rf"sampler 'stranger' of stranger-package cannot be imported \({told}\); install what it needs"
    with pytest.raises(PluginError, match=why) as e:
        samplers.get("stranger")
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 400
    assert samplers.get("ddim").card.name == "ddim"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("class Stranger(Sampler)", "class Stranger"), "is no subclass of samplers.Sampler but <class"),
        (
            ("class Stranger(Sampler)", "def Stranger(): ...\nclass Other(Sampler)"),
            "is no subclass of .* but <func",
        ),
        (("card = Card(", "cart = Card("), r"has no card \(samplers.Card\)"),
        (("card = Card(", "card = dict("), "has no card"),
        (('family="toy"', "family=3"), "has a card whose family is 3"),
        (("order=None", 'order="two"'), "has a card whose order is 'two'"),
        (("deterministic=True", "deterministic=1"), "has a card whose deterministic is 1"),
        (("order=None", "order=None, steps=(1, 'x')"), "has a card whose steps is 'x'"),
        (("def sample", "def other"), "lacks sample"),
        ((STRANGER, "from samplers import Solver\nclass Stranger(Solver): ..."), "lacks step"),
        (("lambda n: n", "7"), "has a card whose calls is 7"),
        (("lambda n: n", "lambda n: 1 / 0"), "has a card whose calls raise ZeroDivisionError"),
        (("lambda n: n", "lambda n: -n"), r"has a card whose calls are \[-1, -2, -3\]"),
        (('name="stranger"', 'name="x\\ny" * 600'), "has a card of the name 'x"),
        (('family="toy"', 'family="x\\ny" * 100_000'), "has a card whose family is 'x"),
    ],
)
def test_a_plugin_that_is_no_sampler_is_one_line(install, change, told):
    install("[bench.samplers]\nstranger = stranger_package:Stranger", STRANGER.replace(*change))
    why = rf"sampler 'stranger' of stranger-package {told}.*, stranger_package.py:\d+; its author must mend it"
    with pytest.raises(PluginError, match=why) as e:
        samplers.card("stranger")
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 400
    assert "stranger" in samplers.names()
    assert samplers.get("ddim").card.name == "ddim"
    assert "stranger" in str(cells(Plan(samplers=("all",), calls=(2,)))[Cell("stranger", 2, 64, "fp32")])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("self.points, self.kind = points, kind", "raise RuntimeError('a\\nb' * 100_000)"), "RuntimeError: a ba b"),
        (("self.points, self.kind = points, kind", "raise SystemExit(7)"), "SystemExit: 7"),
        (("self.points, self.kind = points, kind", "raise BaseException(7)"), "BaseException: 7"),
        (("self.points, self.kind = points, kind", "self.__class__.__init__ = 7; self.card.calls(1 / 0)"), "ZeroDivisionError"),
    ],
)
def test_a_plugin_that_cannot_be_made_is_one_line(install, change, told):
    install("[bench.samplers]\nstranger = stranger_package:Stranger", STRANGER.replace(*change))
    why = rf"sampler 'stranger' of stranger-package cannot be made \({told}.*, stranger_package.py:\d+\); look at its options"
    with pytest.raises(PluginError, match=why) as e:
        samplers.get("stranger:points=3")
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 400


def named(name: str) -> tuple[str, str]:
    """The entry points and the source of a stranger's sampler of that name."""
    return f"[bench.samplers]\n{name} = {{}}:Stranger", STRANGER.replace('name="stranger"', f'name="{name}"')


def test_a_strangers_sampler_does_not_take_our_name_and_goes_by_its_package_s(install):
    points, source = named("ddim")
    install(points.format("stranger_package"), source)
    assert samplers.get("ddim:eta=0.5").eta == 0.5
    assert samplers.get("sampler-bench:ddim:eta=0.5").eta == 0.5
    for package in ("stranger-package", "Stranger_Package"):
        assert samplers.get(f"{package}:ddim:points=7").points == 7
    assert "stranger-package:ddim" in samplers.names()
    assert [c.sampler for c in cells(Plan(samplers=("stranger-package:ddim@2",)))] == ["stranger-package:ddim"]
    with pytest.raises(UserError, match=r"unknown sampler 'stranger-package:ddimm'; did you mean 'stranger-package:ddim'"):
        samplers.get("stranger-package:ddimm")


def test_strangers_of_one_name_both_go_by_their_packages(install):
    points, source = named("mine")
    for module in ("first_stranger", "second_stranger"):
        install(points.format(module), source, module)
    assert {n for n in samplers.names() if "mine" in n} == {"first-stranger:mine", "second-stranger:mine"}
    assert samplers.get("second-stranger:mine").__module__ == "second_stranger"
    with pytest.raises(UserError, match="'mine' is of several packages; write first-stranger:mine or second-stranger:mine"):
        samplers.get("mine:points=3")


def test_names_that_no_spec_can_tell_are_refused_and_hurt_no_other(install):
    install("[bench.samplers]\na@b = stranger_package:A\na:b = stranger_package:A\ntwo = b:A\ntwo = a:A", STRANGER)
    assert [n for n in samplers.names() if n[0] == "a" or n == "two"] == ["two"]
    assert refused("bench.samplers") == {
        "a:b of stranger-package": "a name may hold none of : = @",
        "a@b of stranger-package": "a name may hold none of : = @",
        "two of stranger-package": "the package has this name twice",
    }


def test_what_a_plugin_prints_does_not_come_between(install, capsys):
    install("[bench.samplers]\nstranger = stranger_package:Stranger", "print('hello')" + STRANGER)
    assert samplers.card("stranger").family == "toy"
    assert capsys.readouterr() == ("", "hello\n")


@pytest.mark.parametrize(
    ("spec", "kind", "rest"),
    [
        ("mnist32", "zoo", "mnist32"),
        ("stranger:a/b:c.json", "stranger", "a/b:c.json"),
        ("stranger:", "stranger", ""),
        ("stranger-package:stranger:a:b", "stranger", "a:b"),
        ("runs/a:b.json", "zoo", "runs/a:b.json"),
        ("C:\\cards\\x.json", "zoo", "C:\\cards\\x.json"),
        ("", "zoo", ""),
    ],
)
def test_a_spec_names_its_loader(install, spec, kind, rest):
    install("[bench.things]\nzoo = stranger_package:ZOO\nstranger = stranger_package:OTHER", "ZOO, OTHER = 'zoo', 'stranger'\n")
    assert load_spec("bench.things", spec) == (kind, rest)
    with pytest.raises(UserError, match=r"unknown thing 'strnger'; did you mean 'stranger'"):
        load_spec("bench.things", "strnger:x")


@pytest.mark.parametrize(
    ("spec", "deterministic", "order"), [("ddim", True, 1), ("ddim:eta=0.5", False, None), ("ddpm", False, None)]
)
def test_card_of_a_sampler_with_options(spec, deterministic, order):
    card = samplers.get(spec).card
    assert (card.deterministic, card.order, card.calls(7)) == (deterministic, order, 7)
    assert samplers.card("ddim").deterministic


@pytest.mark.parametrize("name", samplers.names())
def test_card_is_complete(name):
    card = samplers.card(name)
    assert isinstance(card, Card)
    assert card.name == name
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
    assert re.fullmatch(r"[a-z][a-z0-9_]*", card.family)
    assert re.search(r"arXiv \d{4}\.\d{4,5}", card.paper)
    assert card.note
    assert "\n" not in card.note
    assert card.grid is None or card.grid in GRIDS
    assert card.calls(4) >= 1
    if not card.training:
        assert (card.order is None) == (not card.deterministic or card.fitted)
        assert samplers.get(name).networks() == []
