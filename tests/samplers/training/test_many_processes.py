"""A training in several processes is that of one, by either way of exchanging gradients, whoever dies."""

from pathlib import Path

import pytest
import tiny_training
import torch
from processes import exit_code, in_processes, start
from tiny_training import OPTIMISATION, train

from samplers.models.weights import load_tensors
from samplers.training.gradients import overlaps

SUPPORT = tiny_training.__file__.removesuffix("tiny_training.py")
TRAIN = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {SUPPORT!r})
import torch
import samplers.training.loop as loop
from changed import changed
from samplers import UserError
from samplers.world import World
from tiny_training import OPTIMISATION, train
world = World.join("cpu")
calls = []
def loss(net, generator, step):
    calls.append(step)
    if len(calls) == DIES and world.rank == world.size - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    x = torch.randn(4, 1, 6, 6, generator=generator)[world.rank :: world.size]
    return (net(x) - x[:, :, 1:-1, 1:-1].abs()).square().mean()
IDENTITY = {{"recipe": world.rank if DISAGREE else 0}}
loop.overlaps = lambda *_: OVERLAPPED
try:
    trained = train(Path("many"), loss=loss, optimisation=changed(OPTIMISATION, accumulate=2), world=world, identity=IDENTITY)
except UserError as e:
    Path(f"error-{{world.rank}}").write_text(str(e))
    raise SystemExit(2)
"""


def many(overlapped: bool, dies: int = 0, disagree: bool = False) -> str:
    return f"OVERLAPPED, DIES, DISAGREE = {overlapped}, {dies}, {disagree}\n{TRAIN}"


def one(folder: Path) -> dict[str, torch.Tensor]:
    """The weights, averages and moments of an unbroken training in one process."""

    def loss(net, generator, step):
        x = torch.randn(4, 1, 6, 6, generator=generator)
        return (net(x) - x[:, :, 1:-1, 1:-1].abs()).square().mean()

    train(folder, loss=loss, optimisation=OPTIMISATION.model_copy(update={"accumulate": 2}))
    return load_tensors(folder / "checkpoint.safetensors")[0]


@pytest.mark.parametrize("overlapped", [False, True])
def test_a_process_that_dies_ends_the_training_and_others_go_on(tmp_path, overlapped):
    """One of two is killed in the second part of its sixth update; one goes on until it is killed, and two after it."""
    assert [exit_code(p) for p in in_processes(many(overlapped, dies=12), tmp_path)] == [2, -9]
    assert (tmp_path / "error-0").read_text().startswith("a process of this command has ended; run it again to go on")
    checkpoint = tmp_path / "many" / "checkpoint.safetensors"
    assert load_tensors(checkpoint)[1]["step"] == 5
    assert exit_code(start(many(overlapped, dies=11), tmp_path)) == -9
    assert load_tensors(checkpoint)[1]["step"] == 10
    assert [exit_code(p) for p in in_processes(many(overlapped), tmp_path)] == [0, 0]
    found, whole = load_tensors(checkpoint)[0], one(tmp_path / "one")
    assert found.keys() == whole.keys()
    for name in whole:
        torch.testing.assert_close(found[name], whole[name], rtol=1e-4, atol=1e-6)


def test_processes_of_two_trainings(tmp_path):
    assert [exit_code(p) for p in in_processes(many(False, disagree=True), tmp_path)] == [2, 2]
    assert (tmp_path / "error-0").read_text() == "process 1 has another recipe than process 0; start all alike"
    assert not (tmp_path / "error-1").exists()
    assert not (tmp_path / "many").exists()


def test_a_network_compiled_as_a_whole_has_nothing_to_overlap():
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert [overlaps(gpu, False), overlaps(gpu, True), overlaps(cpu, False)] == [True, False, False]
