"""What every trainer shares: the loop with EMA, checkpoints that resume bit for bit, a log, held-out validation, progress.

A step draws everything random from `step_generator(seed, step)`, so a run that is killed and resumed from its checkpoint
takes the same steps as one that was not. Checkpoints are safetensors: weights, EMA, Adam's moments, and the step.
"""

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from samplers.distributed import World
from samplers.errors import UserError, unknown
from samplers.weights import load_tensors, save_tensors, write_whole


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

    def __post_init__(self) -> None:
        if self.decay not in ("linear", "none"):
            raise unknown("decay", str(self.decay), ("linear", "none"))

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


class _Log:
    """One JSON object a line; lines after the resumed step are dropped, so a log never tells a step twice."""

    def __init__(self, path: Path, step: int):
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        write_whole(path, "".join(line + "\n" for line in lines if self._told_by(line, step)).encode())
        self._file = open(path, "a", buffering=1)  # noqa: SIM115 (held for the whole run)

    @staticmethod
    def _told_by(line: str, step: int) -> bool:
        """Whether a line is whole (a kill can cut the last one) and of a step up to `step`."""
        try:
            return json.loads(line)["step"] <= step
        except ValueError:
            return False

    def write(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps({k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}) + "\n")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The rows of a finished training's log."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


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
        loss: draws a batch with the given generator and returns a scalar; told the update's number (from 0).
        folder: gets `checkpoint.safetensors` and `log.jsonl` (step, loss, images_per_s, and what `validate` returns).
        title: for the progress bar.
        identity: what makes this training this one (recipe, data hash); a checkpoint of another identity is refused.
        validate: scores the network holding the averaged weights.
        target: a second, faster average that the loss itself uses.
        world: the processes that train together: each draws its share of a batch in `loss`, gradients are averaged, and the
            first one validates, logs and keeps the checkpoint that all resume from.

    Raises:
        UserError: the folder holds another training, or the loss became NaN (the last good checkpoint is kept).
    """
    o, world = optimisation, world or World(0, 1, torch.device("cpu"))
    first = world.rank == 0
    checkpoint = folder / "checkpoint.safetensors"
    parameters = dict(network.named_parameters())
    adam = torch.optim.Adam(parameters.values(), lr=o.learning_rate, fused=True)
    ema = {k: p.detach().clone() for k, p in parameters.items()}
    follower = dict(target.network.named_parameters()) if target else {}
    start, seconds, last = 0, 0.0, {}  # type: int, float, dict[str, float]
    if checkpoint.exists():
        start, seconds, last = _resume(checkpoint, parameters, ema, follower, adam, identity)
    world.wait()  # nobody writes before all have read
    log = _Log(folder / "log.jsonl", start) if first else None
    mark = saved = time.monotonic()
    running, since, since_time = 0.0, 0, mark

    def save(step: int) -> None:
        info = {"step": step, "seconds": seconds, "last": last, "identity": identity}
        _save(checkpoint, parameters, ema, follower, adam, info)

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
            value = loss(network, generator, step)
            value.backward()
            value = value.detach()
            world.average([value, *(p.grad for p in parameters.values() if p.grad is not None)])
            norm = nn.utils.clip_grad_norm_(parameters.values(), o.clip)
            if not math.isfinite(number := float(value)) or not math.isfinite(float(norm)):
                raise UserError(
                    f"{title}: loss or gradient is not finite at step {step}; the checkpoint before it is kept in {folder}. "
                    "Lower the learning rate in the recipe"
                )
            adam.step()
            with torch.no_grad():
                weight = 1 - min(o.ema, (1 + step) / (10 + step))
                torch._foreach_lerp_(list(ema.values()), list(parameters.values()), weight)
                if target:
                    torch._foreach_lerp_(list(follower.values()), list(parameters.values()), 1 - target.ema)
            running, since = running + number, since + 1
            done, now = step + 1, time.monotonic()
            if log is not None and (done % o.validate_every == 0 or done == o.steps):
                last = _validated(network, parameters, ema, validate)
                rate, spent = since * o.batch / (now - since_time), seconds + now - mark
                log.write({"step": done, "loss": running / since, "images_per_s": rate, "seconds": spent, **last})
                running, since, since_time = 0.0, 0, time.monotonic()
            if not first:
                continue
            if now - saved > o.checkpoint_seconds or done == o.steps:
                seconds, mark = seconds + time.monotonic() - mark, time.monotonic()
                save(done)
                saved = mark
            bar.update(task, completed=done, note=f"loss {number:.4f}")
    return Trained(ema, o.steps, o.steps * o.batch, seconds, last)


@torch.no_grad()
def _validated(
    network: nn.Module,
    parameters: dict[str, nn.Parameter],
    ema: dict[str, Tensor],
    validate: Callable[[nn.Module], dict[str, float]] | None,
) -> dict[str, float]:
    """Score the averaged weights, then put the raw ones back."""
    if validate is None:
        return {}
    raw = {k: p.detach().clone() for k, p in parameters.items()}
    for k, p in parameters.items():
        p.copy_(ema[k])
    network.eval()
    scores = validate(network)
    for k, p in parameters.items():
        p.copy_(raw[k])
    return scores


def _save(
    path: Path,
    parameters: dict[str, nn.Parameter],
    ema: dict[str, Tensor],
    follower: dict[str, nn.Parameter],
    adam: torch.optim.Adam,
    info: dict,
) -> None:
    tensors = {f"raw/{k}": p for k, p in parameters.items()} | {f"ema/{k}": e for k, e in ema.items()}
    tensors |= {f"target/{k}": p for k, p in follower.items()}
    for k, p in parameters.items():
        state = adam.state[p]
        tensors |= {f"m/{k}": state["exp_avg"], f"v/{k}": state["exp_avg_sq"], f"t/{k}": state["step"]}
    save_tensors(path, tensors, info)


def _resume(
    path: Path,
    parameters: dict[str, nn.Parameter],
    ema: dict[str, Tensor],
    follower: dict[str, nn.Parameter],
    adam: torch.optim.Adam,
    identity: dict,
) -> tuple[int, float, dict]:
    tensors, info = load_tensors(path)
    if info["identity"] != json.loads(json.dumps(identity)):
        theirs = info["identity"]
        differs = sorted(k for k in identity.keys() | theirs.keys() if identity.get(k) != theirs.get(k))
        raise UserError(f"{path} is of another training ({', '.join(differs)} differ); choose another --out or remove it")
    with torch.no_grad():
        for k, p in parameters.items():
            p.copy_(tensors[f"raw/{k}"])
            ema[k].copy_(tensors[f"ema/{k}"])
            adam.state[p] = {
                "step": tensors[f"t/{k}"].float().to(p.device),
                "exp_avg": torch.empty_like(p).copy_(tensors[f"m/{k}"]),
                "exp_avg_sq": torch.empty_like(p).copy_(tensors[f"v/{k}"]),
            }
        for k, p in follower.items():
            p.copy_(tensors[f"target/{k}"])
    return info["step"], info["seconds"], info["last"]


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_all_cores() -> None:
    """Train with every core this process may use: its share where torchrun started several here."""
    torch.set_num_threads(max(available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1))


def exact_float32() -> None:
    """Make a GPU's float32 products and convolutions float32: TensorFloat-32 has a mantissa of 10 bits."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
