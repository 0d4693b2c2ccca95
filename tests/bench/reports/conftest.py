"""Figures that are set up, and not drawn, which takes most of a report's time."""

import pytest
from matplotlib.figure import Figure as Drawn


@pytest.fixture
def drawn(monkeypatch) -> dict[str, Drawn]:
    """The figures that a report sets up, by the names of their files; none is drawn."""
    found: dict[str, Drawn] = {}
    monkeypatch.setattr("bench.presentation.looks.save", lambda figure, path: found.update({path.name: figure}))
    return found


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are empty files."""
    monkeypatch.setattr("bench.presentation.looks.save", lambda figure, path: path.touch())
