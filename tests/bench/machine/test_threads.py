"""How many threads a run takes."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.machine.threads import AS_FAST, ROUNDS, SECONDS, candidates, choose, choose_threads


class Machine:
    """A clock on which a pass takes as long as its threads say."""

    def __init__(self, seconds: dict[int, float]):
        self.seconds, self.at, self.threads, self.passes = seconds, 0.0, 0, 0

    def take(self, threads: int) -> None:
        self.threads = threads

    def work(self) -> None:
        self.passes += 1
        self.at += self.seconds[self.threads]

    def choose(self, cores: int):
        return choose_threads(self.work, cores=cores, take=self.take, now=lambda: self.at)


def test_an_idle_machine_gives_all_its_cores():
    machine = Machine({8: 0.010, 4: 0.018, 1: 0.060})
    choice = machine.choose(8)
    assert choice.threads == machine.threads == 8
    assert choice.why == "threads: 8 of 8 cores; a network pass took 10 ms (18 ms with 4, 60 ms with 1)"
    assert machine.passes == 3 * (ROUNDS + 1)


def test_a_loaded_machine_gives_one_and_is_not_waited_for_long():
    machine = Machine({2: 4.003, 1: 0.034})
    assert machine.choose(2).threads == 1
    assert machine.passes == 4
    assert machine.at < 2 * 4.1 + SECONDS


def test_no_more_than_help():
    assert Machine({8: 0.0100, 4: 0.0102, 1: 0.0300}).choose(8).threads == 4
    assert Machine({}).choose(1).threads == 1


@given(st.integers(1, 512), st.data())
def test_it_is_about_as_fast_as_the_fastest(cores: int, data: st.DataObject):
    seconds = {n: data.draw(st.floats(1e-4, 10)) for n in candidates(cores)}
    assert seconds[choose(seconds)] <= AS_FAST * min(seconds.values())


def test_the_process_takes_what_was_chosen():
    before = torch.get_num_threads()
    try:
        x = torch.ones(64, 64)
        choice = choose_threads(lambda: x @ x)
        assert torch.get_num_threads() == choice.threads
    finally:
        torch.set_num_threads(before)
