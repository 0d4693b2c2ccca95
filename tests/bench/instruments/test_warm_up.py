from bench.instruments.warm_up import warm_up


def warmed(times: list[float], **options) -> dict:
    """Warm up on repetitions of these lengths, by a clock that they move; they must be enough."""
    left, now = iter(times), {"at": 0.0}

    def run() -> float:
        seconds = next(left)
        now["at"] += seconds
        return seconds

    return warm_up(run, now=lambda: now["at"], **options)


def test_it_ends_when_three_more_change_nothing():
    found = warmed([3.0, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], seconds=60)
    assert found == {"repetitions": 7, "seconds": 3.7, "steady": True}


def test_a_time_that_still_falls_is_not_steady():
    found = warmed([1.0 * 0.96**k for k in range(30)], most=20, seconds=60)
    assert found["repetitions"] == 20
    assert found["steady"] is False


def test_the_cap_ends_it_and_says_so():
    assert warmed([2.0, 1.0, 2.5, 1.0], seconds=5.0) == {"repetitions": 3, "seconds": 5.5, "steady": False}
    assert warmed([9.0, 1.0], seconds=5.0) == {"repetitions": 1, "seconds": 9.0, "steady": False}
