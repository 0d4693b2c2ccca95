"""How a sampler is run: eager, compile (torch.compile of its networks), or graph (a CUDA graph of the whole trajectory).

A mode is accepted only if its images equal eager's within TOLERANCE. Counting needs hooks and Python on every call, which a
compiled network or a captured trajectory has no place for, so counts and FLOPs are always taken in eager.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from samplers.errors import UserError, one_line

TOLERANCE = {"fp32": 1e-3, "bf16": 0.1}
"""How far, at most, an image of another mode may be from eager's, on [-1, 1], by the precision of the networks."""
SHAPES = 64
"""Shapes that one network may be compiled for: latency, throughput and a sweep need one each; torch's own limit is 8."""
Run = Callable[[Tensor, Tensor | None], Tensor]
"""run(noise [B, C, H, W], labels [B] or None) -> images [B, C, H, W]."""


class ModeError(RuntimeError):
    """A mode that does not work for a sampler, or gives other images than eager."""


def check_mode(mode: str, device: torch.device) -> None:
    """Refuse a mode that no sampler can run in on this device.

    Raises:
        UserError: graph without CUDA.
    """
    if mode == "graph" and device.type != "cuda":
        raise UserError("mode graph needs a CUDA device; use --mode eager or --mode compile here")


def in_mode(mode: str, run: Run, networks: Sequence[nn.Module], z: Tensor, labels: Tensor | None, precision: str) -> Run:
    """`run` in a mode, compiled or captured for inputs like `z` and `labels`, once its images were seen to equal eager's.

    They are compared from -z, which is as good a noise: what a graph took from the host while it was captured on z, where it
    should take it from its inputs, gives other images there. In graph mode the images returned lie in the graph's own memory:
    the next call overwrites them.

    Args:
        mode: of `bench.instruments.choices.MODES`.
        run: the sampler in eager mode.
        networks: that `run` calls.
        z: noise [B, C, H, W].
        labels: [B], or None.
        precision: a key of TOLERANCE.

    Raises:
        ModeError: the mode does not work here, or gives other images than eager.
        torch.OutOfMemoryError: it would need more memory than there is.
    """
    if mode == "eager":
        return run
    with torch.compiler.set_stance("force_eager"):
        expected = run(-z, labels).clone()
    try:
        other = ready(mode, run, networks, z, labels)
        worst = float((other(-z, labels) - expected).abs().max())
    except torch.OutOfMemoryError:
        raise
    except Exception as e:
        raise ModeError(f"mode {mode} does not work here ({one_line(e)}); use --mode eager") from e
    if not worst <= TOLERANCE[precision]:
        raise ModeError(f"mode {mode}: images differ from eager's by {worst:.2g} at batch {len(z)}; not timed")
    return other


def ready(mode: str, run: Run, networks: Sequence[nn.Module], z: Tensor, labels: Tensor | None) -> Run:
    """`run` in mode compile or graph, unchecked; a network compiles when it is first called with a shape."""
    if mode == "graph":
        return _capture(run, z, labels)
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, SHAPES)
    for network in networks:
        if network._compiled_call_impl is None:  # solvers share the teacher's
            network.compile(fullgraph=True, dynamic=False)
    return run


@contextmanager
def unchanged(mode: str) -> Iterator[None]:
    """For passes that are measured: a network that would be compiled anew in here is an error, not a slow repetition.

    Raises:
        ModeError: in mode compile, a network met a shape, or anything else, that it was not compiled for.
    """
    if mode != "compile":
        yield
        return
    try:
        with torch.compiler.set_stance("fail_on_recompile"):
            yield
    except RuntimeError as e:
        if "fail_on_recompile" not in str(e):
            raise
        raise ModeError("mode compile: a network had to be compiled again while it was measured; use --mode eager") from e


def _capture(run: Run, z: Tensor, labels: Tensor | None) -> Run:
    """A CUDA graph of `run` on inputs of its own, which each call copies its arguments into."""
    z, labels = z.clone(), None if labels is None else labels.clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run(z, labels)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        images = run(z, labels)
    images.zero_()  # so that the images compared with eager's are a replay's

    def replay(noise: Tensor, of: Tensor | None) -> Tensor:
        z.copy_(noise)
        if labels is not None and of is not None:
            labels.copy_(of)
        graph.replay()
        return images

    return replay
