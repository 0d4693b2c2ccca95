"""Checks of how a sampler works: precision, devices, waiting, inputs, generators, NaN, its own arithmetic, output."""

import random
from contextlib import redirect_stdout
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from samplers.conformance.subject import BATCH, Flaw, Subject
from samplers.conformance.watched import Data, Ear, Watch
from samplers.errors import place, running
from samplers.noises import FreshNoise

MOST = 100
"""Operators of a sampler's own a step; our heaviest has about 30."""
DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def dtype(s: Subject) -> str:
    """It computes in the noise's type, the calls too."""
    z, labels = s.inputs()
    kinds = DTYPES if s.teacher is None else (torch.float32,)
    for kind in kinds:
        denoiser = s.denoiser()
        made = s.run(z.to(kind), labels, denoiser=denoiser)
        if made.dtype != kind:
            raise Flaw(f"it returns images of {made.dtype} for noise of {kind}")
        if others := {x.dtype for x, *_ in getattr(denoiser, "seen", ())} - {kind}:
            raise Flaw(f"it calls the denoiser with {others.pop()} for noise of {kind}")
    return ", ".join(str(k).removeprefix("torch.") for k in kinds)


def device(s: Subject) -> str | None:
    """It works where its noise is, and copies nothing between there and the host: on a GPU that need not be there."""
    if s.teacher is not None:
        return None  # its network would have to be on that device
    kept = s.sampler
    s.renew()  # what a sampler keeps is of one device
    try:
        s.sampler.prepare(s.denoiser(), s.device, s.usual)  # what it makes for its denoiser cannot be made there
        made, waits = _on_a_gpu(s)
    except DataDependentOutputException as e:
        raise Flaw("on a GPU the host waits for a tensor's value; keep numbers in Python", place(e, s.package)) from e
    finally:
        s.sampler = kept
    if made.device.type != "cuda":
        raise Flaw(f"it returns images on {made.device} for noise on a GPU")
    if waits is not None:
        raise Flaw("on a GPU the host waits, or copies to it or from it; keep numbers in Python", waits)
    return "a GPU that is not there"


def _on_a_gpu(s: Subject) -> tuple[Tensor, str | None]:
    """Images of a run there, and where the host waits; `FreshNoise`, which draws on the host by itself, draws none."""
    quiet = mock.patch.multiple(FreshNoise, __init__=_begin, __call__=_nothing)
    with FakeTensorMode(), quiet:
        denoiser, z = Data(device="cuda"), torch.empty(BATCH, 6, 1, 1, dtype=torch.float64, device="cuda")
        with Watch(s.package) as watch:
            made = s.run(z, torch.zeros(BATCH, dtype=torch.int64, device="cuda"), denoiser=denoiser)
    return made, watch.faults.get("waits")


def _begin(self: FreshNoise, start: Tensor) -> None:
    self._like = start


def _nothing(self: FreshNoise, step: int) -> Tensor:
    return torch.zeros_like(self._like)


def waiting(s: Subject) -> str:
    """It asks no tensor for its value, which on a GPU would wait for all work before."""
    watch = s.watched(s.usual)
    if "waits" in watch.faults:
        raise Flaw(f"it waits for a tensor's value ({watch.synchronisations} times in {s.usual} steps)", watch.faults["waits"])
    return "no wait"


def inputs(s: Subject) -> str:
    """It leaves noise and labels as they are."""
    z, labels = s.inputs()
    kept = z.clone(), None if labels is None else labels.clone()
    s.run(z, labels)
    changed = not torch.equal(z, kept[0]) or (labels is not None and kept[1] is not None and not torch.equal(labels, kept[1]))
    watch = s.watched(s.usual)
    if changed or "writes" in watch.faults:
        raise Flaw("it writes to its noise or labels; work on a tensor of its own", watch.faults.get("writes", ""))
    return "noise and labels as before"


def generator(s: Subject) -> str:
    """It draws from no global generator, an image being a function of its own noise, and none where its card says so."""
    torch.rand(1)  # to a state that no seeding gives
    before, own, lines = (torch.get_rng_state(), _numpy(), random.getstate()), FreshNoise.__init__, list[str]()

    def begin(fresh: FreshNoise, start: Tensor) -> None:
        lines.append(running(s.package))
        own(fresh, start)

    with mock.patch.object(FreshNoise, "__init__", begin):
        watch = s.watched(s.usual)
    if "draws" in watch.faults:
        raise Flaw("it draws from torch's global generator; draw by samplers.FreshNoise(noise)", watch.faults["draws"])
    if not torch.equal(torch.get_rng_state(), before[0]):
        told = "it seeds torch's global generator, or draws from it; draw by samplers.FreshNoise(noise)"
        raise Flaw(told, watch.faults.get("noise", ""))
    if (_numpy(), random.getstate()) != before[1:]:
        raise Flaw("it draws from the global generator of numpy or random; draw by samplers.FreshNoise(noise)")
    lines += [line for kind, line in watch.faults.items() if kind == "noise"]
    if lines and not s.card.draws_noise(s.usual):
        raise Flaw("it draws noise, which its card does not say; write deterministic=False there", lines[0])
    return "torch's, numpy's and Python's untouched"


def _numpy() -> bytes:
    kind, keys, *rest = np.random.get_state(legacy=True)
    return repr((kind, rest)).encode() + np.asarray(keys).tobytes()


def not_a_number(s: Subject) -> str:
    """An image that became NaN stays NaN, so that it is told, and its neighbours stay as they are."""
    z, labels = s.inputs()
    clean, spoilt = s.run(z, labels), z.clone()
    denoiser = s.denoiser()
    if isinstance(denoiser, Data) and s.card.calls(s.usual) > 1:
        denoiser.spoilt = 1
    else:
        spoilt[1] = torch.nan
    made = s.run(spoilt, labels, denoiser=denoiser)
    if not made[1].isnan().any():
        raise Flaw("a NaN of the network is hidden in the image; leave it, so that the run is told")
    others = [0, 2]
    if not torch.allclose(made[others], clean[others], rtol=1e-3, atol=1e-3):
        raise Flaw("a NaN in one image changes the others of its batch")
    return "stays in its own image"


def overhead(s: Subject) -> str:
    """Its own arithmetic, counted in operators outside the networks, is small and grows with the steps alone."""
    own = {n: s.watched(n).own for n in ([8, 16, 32] if s.card.steps is None and s.teacher is None else [s.usual])}
    *_, (few, before), (many, after) = [(0, 0), *own.items()]
    a_step = (after - before) / (many - few)
    if a_step > MOST:
        raise Flaw(
            f"{a_step:.0f} operators a step of its own, {MOST} at most; look at what is done on tensors that numbers can do"
        )
    if len(own) == 3 and after - before > 2.5 * max(before - own[8], 16):
        raise Flaw(f"its own operators grow faster than its steps: {', '.join(f'{v} for {n}' for n, v in own.items())} steps")
    return f"{a_step:.1f} operators a step"


def output(s: Subject) -> str:
    """It prints nothing."""
    z, labels = s.inputs()
    ear = Ear(s.package)
    with redirect_stdout(ear):
        s.run(z, labels)
    if said := ear.getvalue():
        raise Flaw(f"it prints {len(said)} characters to standard output, where tables go; leave it out", ear.line)
    return "prints nothing"
