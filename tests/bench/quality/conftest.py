from pathlib import Path

import inception_file
import pytest


@pytest.fixture(scope="session")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random Inception weights."""
    return inception_file.write(tmp_path_factory.mktemp("inception") / "weights.pth")
