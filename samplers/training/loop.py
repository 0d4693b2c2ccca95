"""What every trainer shares: the loop with EMA, checkpoints that resume bit for bit, a log, held-out validation, progress.

A step draws everything random from `step_generator(seed, step)`, so a run that is killed and resumed from its checkpoint
takes the same steps as one that was not. Checkpoints are safetensors: weights, EMA, Adam's moments, and the step.
"""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from samplers.errors import UserError
from samplers.time_limit import TimeUpError, limited, time_is_up
from samplers.training.checkpoint import NAME, State
from samplers.training.gradients import Gradients, Loss, overlaps
from samplers.training.log import Log
from samplers.training.optimisation import Optimisation, step_generator
from samplers.training.precision import quicken
from samplers.world import World

WARMING = 10
"""Updates that no rate counts: networks are compiled and caches filled in them."""
LOOK = 16
"""Updates between two looks at a GPU's numbers."""


@dataclass
class Trained:
    """What `fit` returns: the averaged weights by name, and what it took."""

    ema: dict[str, Tensor]
    steps: int
    images: int
    seconds: float
    last: dict[str, float]


@dataclass(frozen=True)
class Target:
    """A network that follows the trained one as a moving average of its own, as consistency models' targets do.

    Attributes:
        network: of the same parameters, starting equal; moved after each update and kept in the checkpoint.
        ema: decay per update.
    """

    network: nn.Module
    ema: float


def fit(
    network: nn.Module,
    loss: Loss,
    optimisation: Optimisation,
    folder: Path,
    *,
    title: str,
    identity: dict[str, Any],
    same: Callable[[str, Any, Any], bool] = lambda key, a, b: a == b,
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
    target: Target | None = None,
    world: World | None = None,
    quiet: bool = False,
) -> Trained:
    """Train `network` in place, resuming from `folder/checkpoint.safetensors` where there is one.

    Args:
        network: on its device, freshly initialised (the same way each time).
        loss: draws `optimisation.part` images with the given generator and returns a scalar; told the update's number (from 0).
        folder: gets `checkpoint.safetensors` and `log.jsonl` (step, loss, images_per_s without the first few updates, in which
            networks are compiled, and what `validate` returns).
        title: for the progress bar.
        identity: what makes this training this one (recipe, data hash); a checkpoint of another identity is refused.
        same: whether a key of two identities, and what each says there, are of one training.
        validate: scores the network holding the averaged weights.
        target: a second, faster average that the loss itself uses.
        world: the processes that train together: each draws its share of a batch in `loss`, gradients are averaged, and the
            first one validates, logs and keeps the checkpoint that all resume from. Another number of them goes on to the same
            weights up to rounding; where the network has dropout, with other masks.

    Raises:
        UserError: another training in the folder or in another process, or the loss became NaN (the last good checkpoint is
            kept).
        TimeUpError: the time limit around it is over; its checkpoint is of the last update.
    """
    o, world = optimisation, world or World(0, 1, torch.device("cpu"))
    world.agree(identity, "start all alike")
    first = world.rank == 0
    checkpoint = folder / NAME
    parameters = dict(network.named_parameters())
    device = next(iter(parameters.values())).device
    compiled = quicken([network], o, device)
    adam = torch.optim.Adam(parameters.values(), lr=o.learning_rate, fused=True)
    ema = {k: p.detach().clone() for k, p in parameters.items()}
    follower = dict(target.network.named_parameters()) if target else {}
    state = State(parameters, ema, follower, adam)
    start, seconds, last = 0, 0.0, {}  # type: int, float, dict[str, float]
    if checkpoint.exists():
        info = state.load(checkpoint, identity, same)
        start, seconds, last = info["step"], info["seconds"], info["last"]
    world.wait()  # nobody writes before all have read
    gradients = Gradients(network, loss, world, overlaps(device, compiled))
    log = Log(folder, start) if first else None
    mark = saved = time.monotonic()
    zero = torch.zeros((), device=device)
    running, since = zero.double(), 0
    rate_from, since_time = start, mark
    bad = zero + math.inf  # the first update whose loss or gradient was not finite

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    console, shown = Console(stderr=True), first and not quiet
    with Progress(*columns, console=console, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task(title, total=o.steps, completed=start, note="")
        for step in range(start, o.steps):
            for group in adam.param_groups:
                group["lr"] = o.rate_at(step)
            network.train()
            adam.zero_grad(set_to_none=True)
            generator = step_generator(o.seed, step)
            # For dropout, which draws from the global generator: masks of each process's own.
            torch.manual_seed(generator.initial_seed() + world.rank)
            if compiled:
                torch.compiler.cudagraph_mark_step_begin()
            value = gradients.of(generator, step, o.accumulate)
            norm = nn.utils.clip_grad_norm_(parameters.values(), o.clip)
            bad = torch.where(torch.isfinite(value) & torch.isfinite(norm), bad, bad.clamp(max=step))
            running, since = running + value, since + 1
            done, now = step + 1, time.monotonic()
            if done == start + WARMING:
                rate_from, since_time = done, now
            stops = world.any(time_is_up()) if limited() else False
            tells = done % o.validate_every == 0 or done == o.steps
            saves = now - saved > o.checkpoint_seconds or done == o.steps or stops
            # A GPU is asked now and then only: each answer waits for all of its work.
            if (device.type == "cpu" or tells or saves or done % LOOK == 0) and math.isfinite(at := float(bad)):
                raise UserError(
                    f"{title}: loss or gradient is not finite at step {int(at)}; the checkpoint before it is kept in {folder}. "
                    "Lower the learning rate in the recipe"
                )
            adam.step()
            with torch.no_grad():
                weight = 1 - min(o.ema, (1 + step) / (10 + step))
                torch._foreach_lerp_(list(ema.values()), list(parameters.values()), weight)
                if target:
                    torch._foreach_lerp_(list(follower.values()), list(parameters.values()), 1 - target.ema)
            if log is not None and tells:
                now = time.monotonic()
                last = _validated(network, parameters, ema, validate, compiled)
                rate, spent = (done - rate_from) * o.batch / (now - since_time), seconds + now - mark
                log.write({"step": done, "loss": float(running) / since, "images_per_s": rate, "seconds": spent, **last})
                running, since = zero.double(), 0
                rate_from, since_time = done, time.monotonic()
            if first and saves:
                seconds, mark = seconds + time.monotonic() - mark, time.monotonic()
                state.save(checkpoint, {"step": done, "seconds": seconds, "last": last, "identity": identity})
                saved = mark
                if shown and not console.is_terminal:  # a line with each checkpoint
                    line = f"bench: {title}: {done} of {o.steps} updates, loss {float(value):.4f}"
                    console.print(line, markup=False, highlight=False, soft_wrap=True)
            if device.type == "cpu" or tells or done % LOOK == 0:
                bar.update(task, completed=done, note=f"loss {float(value):.4f}")
            if stops and done < o.steps:
                world.wait()  # for the checkpoint
                raise TimeUpError
    return Trained(ema, o.steps, o.steps * o.batch, seconds, last)


@torch.no_grad()
def _validated(
    network: nn.Module,
    parameters: dict[str, nn.Parameter],
    ema: dict[str, Tensor],
    validate: Callable[[nn.Module], dict[str, float]] | None,
    compiled: bool,
) -> dict[str, float]:
    """Score the averaged weights, then put the raw ones back."""
    if validate is None:
        return {}
    raw = {k: p.detach().clone() for k, p in parameters.items()}
    for k, p in parameters.items():
        p.copy_(ema[k])
    network.eval()
    with torch.compiler.set_stance("force_eager") if compiled else nullcontext():  # other batches than the compiled one's
        scores = validate(network)
    for k, p in parameters.items():
        p.copy_(raw[k])
    return scores
