"""Variables that say how many processes train together, set by no launcher or wrongly."""

import pytest

from samplers import UserError
from samplers.training.precision import use_all_cores
from samplers.world import World

WHOLE = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*WHOLE, "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("size", [None, "1"])
def test_one_process_needs_no_launcher(monkeypatch, size):
    if size:
        monkeypatch.setenv("WORLD_SIZE", size)
    assert World.join("cpu").size == 1


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *(("WORLD_SIZE", v) for v in ("", "two", "0", "-1", "1.5", "2\n3", "9" * 10**6)),
        *((v, None) for v in ("RANK", "MASTER_ADDR", "MASTER_PORT")),
        *(("RANK", v) for v in ("first", "-1", "2")),
        ("MASTER_PORT", "port"),
    ],
)
def test_variables_of_no_launcher_are_told_in_one_line(monkeypatch, variable, value):
    for name, text in (WHOLE | {variable: value}).items():
        if text is not None:
            monkeypatch.setenv(name, text)
    with pytest.raises(UserError, match=f"^{variable} is .*torchrun") as e:
        World.join("cpu")
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 400


def test_a_share_of_cores_that_is_no_number(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "many")
    with pytest.raises(UserError, match="LOCAL_WORLD_SIZE is 'many'"):
        use_all_cores()
