"""Settings with some values changed, and checked again."""

from typing import TypeVar

from samplers.settings import Settings

S = TypeVar("S", bound=Settings)


def changed(settings: S, /, **changes: object) -> S:
    return type(settings)(**dict(settings) | changes)
