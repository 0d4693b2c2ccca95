"""Tiny teacher, trajectories and student card, made once."""

import shutil
from pathlib import Path

import pytest
from tiny import CHECKED, making, write_recipe, write_student, write_teacher

import dsno.trajectory_making
from dsno.network import DSNOConfig
from samplers import UNetTeacher, load_teacher


@pytest.fixture(scope="session", autouse=True)
def _gently(_one_thread):
    with pytest.MonkeyPatch.context() as m:
        m.setattr("samplers.training.precision.available_cores", lambda: 1)
        m.setattr(dsno.trajectory_making, "CHECKED", CHECKED)
        yield


@pytest.fixture(scope="session")
def teacher_card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="session")
def teacher(teacher_card: Path) -> UNetTeacher:
    return load_teacher(teacher_card)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, teacher_card: Path) -> Path:
    """Ten trajectories in three shards; tests that change anything copy it."""
    made = tmp_path_factory.mktemp("made")
    recipe = write_recipe(made / "recipe.yaml", trajectories=making(teacher_card))
    return dsno.trajectory_making.TrajectoryMaking.train(recipe, None, made / "trajectories", quiet=True).parent


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A copy of the ten trajectories, to be changed."""
    return shutil.copytree(folder, tmp_path / "own")


@pytest.fixture
def student_card(tmp_path: Path, teacher: UNetTeacher) -> Path:
    return write_student(tmp_path, teacher, DSNOConfig())
