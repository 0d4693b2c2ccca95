"""Counts without a clock: exact, and other images are told."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from bench.comparison.subject import Subject
from bench.comparison.work import TOLERANCE, Work, compare_work, project
from samplers.operations import Operations


def counted(run) -> Operations:
    with torch.no_grad(), Operations() as found:
        run()
    return found


X = torch.randn(4, 1000)


def test_one_more_operation_is_seen():
    assert counted(lambda: (X + 1) * 2).operators == 2
    assert counted(lambda: ((X + 1) * 2).abs()).operators == 3


def test_what_the_host_waits_for_is_seen():
    assert counted(lambda: X.sum().item()).synchronisations == 1
    assert counted(lambda: X[X > 0]).synchronisations == 1
    assert counted(lambda: bool((X > 0).any())).synchronisations == 1
    assert counted(lambda: (X + 1).mean()).synchronisations == 0


def test_copies_between_host_and_device_are_seen_in_either_direction():
    with FakeTensorMode():  # a GPU that is not there
        host, device = torch.empty(3), torch.empty(3, device="cuda")
        assert counted(lambda: device.cpu()).synchronisations == 1
        assert counted(lambda: device.to("cpu", non_blocking=True)).synchronisations == 1, "into memory that is not pinned"
        assert counted(lambda: host.copy_(device)).synchronisations == 1
        assert counted(lambda: host.to("cuda")).synchronisations == 1
        assert counted(lambda: device.copy_(host)).synchronisations == 1
        assert counted(lambda: torch.tensor([1.0, 2.0], device="cuda")).synchronisations == 1
        assert counted(lambda: host.to("cuda", non_blocking=True)).synchronisations == 0
        assert counted(lambda: device.copy_(host, non_blocking=True)).synchronisations == 0
        assert counted(lambda: device.double()).synchronisations == 0
        assert counted(lambda: device.copy_(device.clone())).synchronisations == 0


def test_peak_bytes_are_those_alive_at_once():
    size = X.numel() * 4

    def chain():
        y = X + 1
        for _ in range(5):
            y = y * 2  # the last one dies

    assert counted(chain).peak_bytes == 2 * size
    assert counted(lambda: [X + k for k in range(5)]).peak_bytes == 5 * size
    assert counted(lambda: X.view(-1)[:7].add_(0)).peak_bytes == 0  # views and work in place take nothing


def proxies(**changes) -> Work:
    images = project(torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1)))
    counts = {"calls": 6, "forwards": 12, "flops": 10**9, "operators": 900, "synchronisations": 0, "peak_bytes": 10**6}
    return Work(**counts, images=images).model_copy(update=changes)


def verdicts(a: Work, b: Work) -> dict[str, str]:
    return {r.quantity: r.verdict for r in compare_work("ddim@6", a, b)}


def test_equal_sides_are_the_same():
    assert set(verdicts(proxies(), proxies()).values()) == {"same"}


def test_each_count_has_its_verdict():
    for key in ("calls", "forwards", "flops", "operators", "synchronisations"):
        more = proxies(**{key: getattr(proxies(), key) + 1})
        found = verdicts(proxies(), more)
        assert found.pop(key) == "more"
        assert set(found.values()) == {"same"}
        assert verdicts(more, proxies())[key] == "less"
    assert verdicts(proxies(), proxies(peak_bytes=1_011_000))["peak_bytes"] == "more"
    assert verdicts(proxies(), proxies(peak_bytes=1_009_000))["peak_bytes"] == "same"


def test_other_images_are_wrong_however_fast():
    moved = [[v + 2 * TOLERANCE for v in row] for row in proxies().images]
    assert verdicts(proxies(), proxies(images=moved))["images"] == "wrong"
    rounding = [[v + TOLERANCE / 10 for v in row] for row in proxies().images]
    assert verdicts(proxies(), proxies(images=rounding))["images"] == "same"
    assert verdicts(proxies(), proxies(images=proxies().images[:1]))["images"] == "wrong"


@given(st.integers(0, 1), st.integers(0, 15), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_images_that_are_not_finite_are_a_fault_of_the_whole_cell_and_never_the_same(image, probe, value):
    spoilt = [list(row) for row in proxies().images]
    spoilt[image][probe] = value
    for before in (proxies(), proxies(images=spoilt)):
        found = verdicts(before, proxies(images=spoilt))
        assert (found["cell"], "images" in found) == ("wrong", False)
    assert verdicts(proxies(images=spoilt), proxies())["images"] == "wrong"


def test_what_has_to_be_fitted_first_is_not_among_the_samplers_of_a_side():
    names = Subject("mnist32", torch.device("cpu"), 2).names()
    assert {"ipndm", "dsno"} <= {*names}
    assert "s4s" not in names
