import contextlib
from types import SimpleNamespace

import pytest
import torch

from bench.instruments.modes import ModeError, check_mode, in_mode, unchanged
from samplers import UserError


class Net(torch.nn.Module):
    """Halves its input; what happens to it outside of compiled code is counted."""

    def forward(self, x):
        return x / 2


def sampler(network):
    return lambda z, labels: network(network(z)) + (0 if labels is None else labels[:, None])


Z, LABELS = torch.arange(6.0).reshape(3, 2), torch.tensor([0, 10, 20])


def test_eager_is_the_very_function():
    run = sampler(Net())
    assert in_mode("eager", run, [], Z, LABELS, "fp32") is run


def test_graph_needs_cuda():
    with pytest.raises(UserError, match="graph needs a CUDA device; use --mode eager"):
        check_mode("graph", torch.device("cpu"))
    check_mode("compile", torch.device("cpu"))


@pytest.mark.usefixtures("traced")
def test_compiled_networks_are_called_compiled_and_only_once_made_so():
    network = Net()
    run = in_mode("compile", sampler(network), [network], Z, LABELS, "fp32")
    made = network._compiled_call_impl
    assert made is not None
    in_mode("compile", sampler(network), [network], Z[:1], LABELS[:1], "fp32")
    assert network._compiled_call_impl is made
    with unchanged("compile"):
        assert torch.equal(run(Z + 1, LABELS), (Z + 1) / 4 + LABELS[:, None])
    with (
        pytest.raises(ModeError, match="had to be compiled again while it was measured; use --mode eager"),
        unchanged("compile"),
    ):
        run(Z[:2], LABELS[:2])
    with unchanged("eager"):
        run(Z[:2], LABELS[:2])


def test_other_errors_of_a_measured_pass_keep_their_own_words():
    with pytest.raises(RuntimeError, match="no kernel"), unchanged("compile"):
        raise RuntimeError("no kernel")


@pytest.mark.usefixtures("traced")
def test_a_network_that_cannot_be_traced_is_told():
    class Branching(torch.nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    network = Branching()
    with pytest.raises(ModeError, match=r"mode compile does not work here \(.+\); use --mode eager"):
        in_mode("compile", sampler(network), [network], Z, LABELS, "fp32")


@pytest.mark.parametrize(
    ("precision", "error", "right"),
    [("fp32", 0.002, False), ("fp32", float("nan"), False), ("fp32", 0.0005, True), ("bf16", 0.05, True)],
)
def test_images_must_equal_eager_s_within_the_tolerance(
    monkeypatch: pytest.MonkeyPatch, precision: str, error: float, right: bool
):
    network = Net()

    def wrongly(module: torch.nn.Module, **_) -> None:
        module.register_forward_hook(lambda *_: _[2] + error / 1.5)  # half of the first call's is lost in the second

    monkeypatch.setattr(torch.nn.Module, "compile", wrongly)
    with (
        contextlib.nullcontext() if right else pytest.raises(ModeError, match=r"differ from eager's by (0\.002|nan) at batch 3")
    ):
        in_mode("compile", sampler(network), [network], Z, LABELS, precision)


def test_images_that_do_not_come_from_the_inputs_are_found(graphs):
    """As where a graph keeps a number that the host worked out from the noise while it was captured."""

    on_the_device = graphs(lambda z, scale: z * scale)
    with pytest.raises(ModeError, match="differ from eager's"):
        in_mode("graph", lambda z, labels: on_the_device(z, float(z.sum())), [], Z, None, "fp32")


def test_out_of_memory_is_not_the_mode_s_fault(monkeypatch: pytest.MonkeyPatch):
    def full(*_, **__) -> None:
        raise torch.OutOfMemoryError("no more")

    monkeypatch.setattr(torch.nn.Module, "compile", full)
    with pytest.raises(torch.OutOfMemoryError):
        in_mode("compile", sampler(Net()), [Net()], Z, LABELS, "fp32")


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch):
    """CUDA graphs without CUDA: a replay does again what was done last while capturing, into the same memory."""
    calls: list[tuple] = []

    def watched(run):
        def call(*args):
            out = run(*args)
            calls.append((run, args, out))
            return out

        return call

    class Graph:
        def replay(self) -> None:
            run, args, out = self.captured
            out.copy_(run(*args))

    @contextlib.contextmanager
    def capture(graph: Graph):
        yield
        graph.captured = calls[-1]

    stream = SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda s: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    return watched


def test_a_graph_takes_new_inputs_into_its_own_and_leaves_the_caller_s_alone(graphs):
    run, z, labels = sampler(Net()), Z.clone(), LABELS.clone()
    replay = in_mode("graph", graphs(run), [], z, labels, "fp32")
    other = replay(Z + 5, LABELS + 1)
    assert torch.equal(other, run(Z + 5, LABELS + 1))
    assert torch.equal(z, Z)
    assert torch.equal(labels, LABELS)
    unlabelled = in_mode("graph", graphs(run), [], z, None, "fp32")
    assert torch.equal(unlabelled(Z + 5, None), run(Z + 5, None))


def test_what_a_graph_cannot_hold_is_told(graphs, monkeypatch: pytest.MonkeyPatch):
    @contextlib.contextmanager
    def refuse(graph):
        yield
        raise RuntimeError("operation not permitted when\n stream is capturing")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    with pytest.raises(ModeError, match=r"mode graph does not work here .operation not permitted when stream is capturing"):
        in_mode("graph", graphs(sampler(Net())), [], Z, LABELS, "fp32")
