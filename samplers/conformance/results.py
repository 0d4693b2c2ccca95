"""Checks of what a sampler returns: images, counts, and that they depend on what they should and on nothing else."""

from itertools import pairwise

import torch
from torch import Tensor

from samplers.conformance.subject import Flaw, Subject
from samplers.errors import UserError, defined


def images(s: Subject) -> str:
    """It returns images like the noise, finite, for every number of steps."""
    z, labels = s.inputs()
    for n in s.steps:
        made = s.run(z, labels, n)
        if not isinstance(made, Tensor):
            raise Flaw(f"it returns no tensor but a {type(made).__name__}")
        if made.shape != z.shape or made.device != z.device:
            told = f"{tuple(made.shape)} on {made.device} for noise of {tuple(z.shape)} on {z.device}"
            raise Flaw(f"it returns images of shape {told}")
        if made.requires_grad:
            raise Flaw("it returns images with a graph of gradients; sample under torch.no_grad()")
        if not torch.isfinite(made).all():
            raise Flaw(f"images of {n} steps are not finite (NaN or infinity)")
    whole = s.steps == list(range(s.steps[0], s.steps[-1] + 1)) and len(s.steps) > 2
    return f"steps {s.steps[0]} to {s.steps[-1]}" if whole else f"steps {', '.join(map(str, s.steps))}"


def refusals(s: Subject) -> str:
    """It refuses steps and noise that it cannot take, by UserError of one line."""
    z, labels = s.inputs()
    for told, noise, n in (("0 steps", z, 0), ("noise of another shape", z[:, :, :1].repeat(1, 2, 1, 1), s.usual)):
        try:
            with torch.no_grad():
                s.sampler.sample(s.denoiser(), noise, steps=n, labels=labels)
        except UserError as e:
            if "\n" in str(e):
                raise Flaw(f"it refuses {told} in more than a line") from e
        except Exception as e:
            raise Flaw(f"{told}: {type(e).__name__} instead of UserError; call samplers.protocol.check first") from e
        else:
            raise Flaw(f"it takes {told}; call samplers.protocol.check first")
    return "0 steps, noise of another shape"


def calls(s: Subject) -> str:
    """The card's calls are those that are counted."""
    for n in s.steps:
        claimed, counted = s.card.calls(n), s.watched(n, count=1).calls
        if claimed != counted:
            why = "; networks() must return each network that it calls" if s.card.training else ""
            raise Flaw(f"claimed {claimed} calls for {n} steps, counted {counted}{why}", defined(type(s.sampler)))
    return f"{s.card.calls(s.usual)} with steps {s.usual}, as the card says"


def determinism(s: Subject) -> str:
    """Runs remember nothing: the same noise gives the same images, whatever was run before, and other noise others."""
    z, labels = s.inputs()
    s.renew()
    first = s.run(z, labels)
    s.run(z, labels, next((n for n in reversed(s.steps) if n != s.usual), s.usual))
    torch.manual_seed(1)
    if not torch.equal(s.run(z, labels), first):
        raise Flaw("another run on the same noise gives other images; keep nothing between runs, draw by samplers.FreshNoise")
    if torch.equal(s.run(z.flip(0), labels), first):
        raise Flaw("other noise gives the same images")
    return "two runs, bit for bit"


def batch(s: Subject) -> str:
    """An image does not depend on the others of its batch."""
    z, labels = s.inputs()
    together = s.run(z, labels)
    worst = 0.0
    for i in range(len(z)):
        alone = s.run(z[i : i + 1], None if labels is None else labels[i : i + 1])
        worst = max(worst, (alone - together[i : i + 1]).abs().max().item())
    if not worst <= (1e-9 if s.teacher is None else 1e-3):
        raise Flaw(f"an image alone differs by {worst:.2g} from itself in a batch of {len(z)}")
    return f"alone and in a batch of {len(z)} within {worst:.1g}"


def classes(s: Subject) -> str | None:
    """Labels come to every call as they are; a student's images change with them."""
    z, labels = s.inputs()
    if labels is None:
        return None
    if s.teacher is not None:
        if torch.equal(s.run(z, labels), s.run(z, labels.roll(1))):
            raise Flaw("other labels give the same images")
        return "images change with them"
    for given in (labels, None):
        denoiser = s.denoiser()
        s.run(z, given, denoiser=denoiser)
        for x, _, seen in denoiser.seen:
            if (seen is None) != (given is None):
                raise Flaw("a call gets no labels" if seen is None else "a call gets labels where none are given")
            if seen is not None and given is not None and not torch.equal(seen, given.repeat(len(x) // len(given))):
                raise Flaw(f"a call gets labels {seen.tolist()} for {given.tolist()}")
    return f"in each of {s.card.calls(s.usual)} calls"


def callback(s: Subject) -> str:
    """The callback is told of every step: its number, the level after it, falling, and the images at the end."""
    z, labels = s.inputs()
    told: list[tuple[int, float, Tensor, Tensor]] = []
    then: list[tuple[Tensor, Tensor]] = []

    def keep(i: int, sigma: float, x: Tensor, denoised: Tensor) -> None:
        told.append((i, sigma, x, denoised))
        then.append((x.clone(), denoised.clone()))

    made = s.run(z, labels, callback=keep)
    if len(told) < s.usual or [i for i, *_ in told] != list(range(len(told))):
        raise Flaw(f"told {[i for i, *_ in told]} of {s.usual} steps")
    levels = [t for _, t, *_ in told]
    if any(a <= b for a, b in pairwise(levels)):
        raise Flaw(f"levels {[round(float(t), 4) for t in levels]} do not fall")
    if any(x.shape != z.shape or d.shape != z.shape for *_, x, d in told) or not torch.equal(told[-1][2], made):
        raise Flaw("the last x told is not the images returned")
    for (i, _, *now), before in zip(told, then, strict=True):
        if not all(map(torch.equal, now, before)):
            raise Flaw(f"what it told of step {i} it wrote to afterwards; work on a tensor of its own")
    return f"{len(told)} times, down to sigma {levels[-1]:.3g}"
