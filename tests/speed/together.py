"""Processes against one: how generating scales, and which way of exchanging gradients is the faster. On an idle machine:

    torchrun --nproc-per-node 2 tests/speed/together.py

On a CPU each process is pinned to a core of its own; `--device cuda` gives each its GPU. Rounds of one process and of all, and
updates by either way, take turns, so that a drift of the machine is in both sides of a ratio. Prints JSON: medians of the
ratios with their 95 % intervals.
"""

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from bench.instruments.statistics import summarise
from bench.records.store import Store
from bench.runs.counting import Counting
from bench.runs.generating import fill
from bench.runs.measurement import Measurement
from bench.runs.plan import make_plan
from bench.runs.ranks import in_turn
from bench.runs.session import Session
from samplers.models.unet_teacher import load_unet_teacher
from samplers.training.gradients import Gradients
from samplers.training.precision import own_cores
from samplers.training.student import as_teacher
from samplers.training.teacher import denoising_loss
from samplers.world import World

STEPS, WARM = 10, 3


def generating(world: World, batches: int, size: int, rounds: int) -> dict[str, Any]:
    """Rate of all processes over that of one times their number, of the phase `generating` with its features and files."""
    images = batches * size * world.size
    plan = make_plan(
        samplers=["ddim"],
        steps=[STEPS],
        images=images,
        batch_size=size,
        trajectory_images=0,
        repetitions=0,
        threads=1,
        device=world.device.type,
    )
    session = in_turn(world, lambda: Session(plan, quiet=True, world=world))
    folder = Path(world.gather(tempfile.mkdtemp() if world.rank == 0 else None)[0])
    store = in_turn(world, lambda: Store(folder, plan.to_yaml(), {}))
    [cell] = session.cells
    m = Measurement(cell, session.samplers[cell])
    Counting()._count(m, session)

    def took(numbers: range) -> float:
        """Seconds until every process has made its numbers."""
        world.wait()
        begin = time.perf_counter()
        fill(m, numbers, session, store)
        world.wait()
        seconds = time.perf_counter() - begin
        if world.rank == 0:
            store.scratch.forget(cell.id)
        world.wait()
        return seconds

    work = batches * world.size
    alone, mine = range(work if world.rank == 0 else 0), range(work)[world.rank :: world.size]
    took(range(work)[world.rank :: world.size])
    pairs = []
    for k in range(rounds):
        first, second = (alone, mine) if k % 2 else (mine, alone)
        a, b = took(first), took(second)
        pairs.append((a, b) if k % 2 else (b, a))
    assert m.error is None, m.error
    return {
        "processes": world.size,
        "images_a_round": images,
        "rate_of_one": summarise([images / one for one, _ in pairs]),
        "rate_of_all_over_one_times_processes": summarise([one / every / world.size for one, every in pairs]),
    }


def training(world: World, size: int, updates: int) -> dict[str, Any]:
    """Time of a gradient by `DistributedDataParallel` over that of one exchange at the end; each process has `size` images."""
    teacher = load_unet_teacher("mnist32", device=world.device)
    x0 = torch.rand(size, *teacher.shape, device=world.device) * 2 - 1
    sigma, labels = torch.linspace(0.1, 2, size, device=world.device), torch.zeros(size, dtype=torch.long, device=world.device)
    ways = []
    for overlapped in (False, True):
        model = as_teacher(teacher, teacher.network.state_dict())

        def loss(network: torch.nn.Module, generator: torch.Generator, step: int, model=model) -> torch.Tensor:
            return denoising_loss(model, x0, sigma, torch.randn_like(x0), labels, 100.0)

        ways.append((model.network.train(), Gradients(model.network, loss, world, overlapped)))

    def took(way: int, step: int) -> float:
        network, gradients = ways[way]
        network.zero_grad(set_to_none=True)
        world.wait()
        begin = time.perf_counter()
        gradients.of(torch.Generator(), step, 1)
        if world.device.type == "cuda":
            torch.cuda.synchronize(world.device)
        world.wait()
        return time.perf_counter() - begin

    pairs = []
    for k in range(updates + WARM):
        a, b = took(k % 2, k), took(1 - k % 2, k)
        pairs.append((b, a) if k % 2 else (a, b))
    assert ways[1][1].overlapped or world.size == 1
    parameters = sum(p.numel() for p in ways[0][0].parameters())
    return {
        "processes": world.size,
        "images_a_process": size,
        "parameters": parameters,
        "seconds_at_once": summarise([a for a, _ in pairs[WARM:]]),
        "overlapped_over_at_once": summarise([b / a for a, b in pairs[WARM:]]),
    }


def main(
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    batches: Annotated[int, typer.Option(help="of images that a process makes in a round")] = 2,
    batch_size: Annotated[int, typer.Option(help="images of a batch")] = 64,
    rounds: Annotated[int, typer.Option(help="of generating")] = 12,
    updates: Annotated[int, typer.Option(help="of training, by each way")] = 60,
) -> None:
    if device == "cpu":
        cores = own_cores()
        os.sched_setaffinity(0, {cores[int(os.environ["LOCAL_RANK"]) % len(cores)]})
        torch.set_num_threads(1)
    world = World.join(device)
    found = {"generating": generating(world, batches, batch_size, rounds), "training": training(world, batch_size, updates)}
    if world.rank == 0:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    typer.run(main)
