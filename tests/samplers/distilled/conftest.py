"""A tiny teacher and its images on disk, made once; trainings on one thread."""

import shutil
from pathlib import Path

import pytest
from small import LADDER, MAPPERS, write_images, write_json, write_student, write_teacher

from samplers import UNetTeacher, load_teacher


@pytest.fixture(scope="session", autouse=True)
def _gently(_one_thread):
    with pytest.MonkeyPatch.context() as m:
        m.setattr("samplers.training.precision.available_cores", lambda: 1)
        yield


@pytest.fixture(scope="session")
def teacher_card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="session")
def teacher(teacher_card: Path) -> UNetTeacher:
    return load_teacher(teacher_card)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose `images` are a data set."""
    return write_images(tmp_path_factory.mktemp("data") / "images").parent


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, teacher: UNetTeacher) -> Path:
    """A folder of students of all methods, and a ladder's list of them."""
    folder = tmp_path_factory.mktemp("students")
    for steps in LADDER:
        write_student(folder, teacher, "progressive", steps)
    for method in MAPPERS:
        write_student(folder, teacher, method)
    write_json(folder / "ladder.json", {"teacher": {}, "rungs": []})
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(made, tmp_path / "students")
