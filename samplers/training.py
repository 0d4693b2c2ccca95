"""What every trainer shares: the loop with EMA, checkpoints that resume bit for bit, a log, held-out validation, progress.

A step draws everything random from `step_generator(seed, step)`, so a run that is killed and resumed from its checkpoint
takes the same steps as one that was not. Checkpoints are safetensors: weights, EMA, Adam's moments, and the step.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from samplers.checkpoint import NAME, State
from samplers.distributed import World
from samplers.errors import UserError, unknown
from samplers.time_limit import TimeUpError, limited, time_is_up
from samplers.training_log import Log

WARMING = 10
"""Updates that no rate counts: networks are compiled and caches filled in them."""
LOOK = 16
"""Updates between two looks at a GPU's numbers."""


@dataclass(frozen=True)
class Optimisation:
    """How to train: Adam, linear warm-up, then a linear or no decay, an EMA with warm-up.

    Attributes:
        steps: updates in all.
        batch: images per update.
        learning_rate: the peak.
        warmup: updates of linear warm-up.
        decay: "linear" (to 0 at `steps`) or "none".
        ema: decay of the weights' moving average per update, lowered to (1 + k) / (10 + k) early on.
        clip: largest gradient norm.
        seed: of everything random.
        checkpoint_seconds: time between checkpoints.
        validate_every: updates between validations.
        accumulate: parts that an update's batch is computed in, one after another, where it does not fit in memory at once.
        compile: on a GPU, compile the networks of the loss and replay them as CUDA graphs.
    """

    steps: int
    batch: int = 128
    learning_rate: float = 4e-4
    warmup: int = 200
    decay: str = "linear"
    ema: float = 0.999
    clip: float = 1.0
    seed: int = 0
    checkpoint_seconds: float = 60.0
    validate_every: int = 500
    accumulate: int = 1
    compile: bool = False

    def __post_init__(self) -> None:
        if self.decay not in ("linear", "none"):
            raise unknown("decay", str(self.decay), ("linear", "none"))
        if self.accumulate < 1 or self.batch % self.accumulate:
            raise UserError(f"accumulate: a batch of {self.batch} has no {self.accumulate} equal parts; choose a divisor of it")

    @property
    def part(self) -> int:
        """Images that the loss draws at once."""
        return self.batch // self.accumulate

    def to_dict(self) -> dict[str, Any]:
        """As a training's identity tells it: without what came later, where that is at its default."""
        values = {k: v for k, v in vars(self).items() if k not in ("accumulate", "compile")}
        later = {k: v for k, v in (("accumulate", self.accumulate), ("compile", self.compile)) if v != getattr(Optimisation, k)}
        return values | later

    def rate_at(self, step: int) -> float:
        """Learning rate of update `step` (from 0)."""
        rate = self.learning_rate * min(1.0, (step + 1) / max(self.warmup, 1))
        return rate * (1 - step / self.steps) if self.decay == "linear" else rate


def step_generator(seed: int, step: int) -> torch.Generator:
    """A CPU generator that depends on seed and step alone."""
    mixed = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed))


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is worth using: any CUDA device since Ampere, or a CPU with native bf16 (without it, it is slower)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def autocast(device: torch.device) -> torch.autocast:
    """Autocast to bfloat16 where that is fast, else no change."""
    return torch.autocast(device.type, torch.bfloat16, enabled=has_fast_bf16(device))


def quicken(networks: Iterable[nn.Module], optimisation: Optimisation, device: torch.device) -> bool:
    """Compile networks in place where the recipe and the device allow it, and say whether; names and weights stay as they are.

    CUDA graphs too, but for a batch in parts: a graph's next replay would overwrite gradients that are still being summed.
    """
    if not optimisation.compile or device.type != "cuda":
        return False
    torch.backends.cudnn.benchmark = True
    for network in networks:
        network.compile(dynamic=False, mode="reduce-overhead" if optimisation.accumulate == 1 else "default")
    return True


def normal(shape: Sequence[int], generator: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal numbers on `device`, a function of the CPU `generator`'s state.

    A GPU draws its own, seeded from `generator`: a CPU would take as long for them as the GPU for the update.
    """
    if device.type == "cpu":
        return torch.randn(tuple(shape), generator=generator)
    own = torch.Generator(device).manual_seed(int(torch.randint(2**62, (), generator=generator)))
    return torch.randn(tuple(shape), generator=own, device=device)


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
    loss: Callable[[nn.Module, torch.Generator, int], Tensor],
    optimisation: Optimisation,
    folder: Path,
    *,
    title: str,
    identity: dict[str, Any],
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
        validate: scores the network holding the averaged weights.
        target: a second, faster average that the loss itself uses.
        world: the processes that train together: each draws its share of a batch in `loss`, gradients are averaged, and the
            first one validates, logs and keeps the checkpoint that all resume from.

    Raises:
        UserError: the folder holds another training, or the loss became NaN (the last good checkpoint is kept).
        TimeUpError: the time limit around it is over; its checkpoint is of the last update.
    """
    o, world = optimisation, world or World(0, 1, torch.device("cpu"))
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
        info = state.load(checkpoint, identity)
        start, seconds, last = info["step"], info["seconds"], info["last"]
    world.wait()  # nobody writes before all have read
    log = Log(folder / "log.jsonl", start) if first else None
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
    with Progress(*columns, disable=quiet or not first) as bar:
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
            value = zero
            for _ in range(o.accumulate):
                part = loss(network, generator, step) / o.accumulate
                part.backward()
                value = value + part.detach()
            world.average([value, *(p.grad for p in parameters.values() if p.grad is not None)])
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


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_all_cores() -> None:
    """Train with every core this process may use: its share where torchrun started several here."""
    torch.set_num_threads(max(available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1))


def reproducible_float32() -> None:
    """Let a GPU's float32 be float32 (TensorFloat-32 has a mantissa of 10 bits), and its algorithms the same in each process.

    Trainers that compile their networks let cuDNN try which algorithm is fastest; what is measured or scored after them in the
    same process must not depend on that.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
