import time

import pytest
import torch

from bench.instruments.clock import Clock, Elapsed


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a clock does, in order; each reading of the host's clock is 5 ms later, each event on the device 2 ms."""
    done: list[str] = []
    host, device = iter(range(0, 10**9, 5_000_000)), iter(range(0, 1000, 2))

    def read() -> int:
        done.append("host")
        return next(host)

    class Event:
        def __init__(self, enable_timing: bool):
            assert enable_timing

        def record(self, stream: str) -> None:
            done.append(f"event on {stream}")
            self.at = next(device)

        def elapsed_time(self, end: "Event") -> float:
            return float(end.at - self.at)

    monkeypatch.setattr(time, "perf_counter_ns", read)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"the stream of {device}")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: done.append("settled"))
    return done


def test_a_repetition_on_a_gpu_has_both_times_and_settles_outside_only(log: list[str]):
    result, elapsed = Clock(torch.device("cuda", 1)).time(lambda: log.append("work") or "images")
    event = "event on the stream of cuda:1"
    assert log == ["settled", "host", event, "work", event, "settled", "host"]
    assert result == "images"
    assert elapsed.seconds == pytest.approx(0.002)
    assert elapsed.host_seconds == pytest.approx(0.005)
    assert elapsed.gap == pytest.approx(0.003)


def test_a_cpu_has_one_time(log: list[str]):
    result, elapsed = Clock(torch.device("cpu")).time(lambda: log.append("work") or "images")
    assert result == "images"
    assert elapsed == Elapsed(pytest.approx(0.005))
    assert elapsed.gap is None
    assert log[1:-1] == ["host", "work", "host"]
