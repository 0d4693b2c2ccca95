"""What every trainer shares: recipes, data, the loop, checkpoints, cards. Imports models; solvers know nothing of it.

A method of one's own is a class of `StudentTraining` (or `Training`): its section's settings, `run`, `loss`, `validate` and
`card`; and a line in the entry-point group `bench.trainers`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samplers.training.cards import write_card
    from samplers.training.loop import Trained, fit
    from samplers.training.optimisation import Optimisation
    from samplers.training.recipe import StudentRecipe, read_recipe
    from samplers.training.student import StudentTraining
    from samplers.training.trainer import Trainer, Training
    from samplers.world import World

_HOMES = {
    "Optimisation": "samplers.training.optimisation",
    "StudentRecipe": "samplers.training.recipe",
    "StudentTraining": "samplers.training.student",
    "Trained": "samplers.training.loop",
    "Trainer": "samplers.training.trainer",
    "Training": "samplers.training.trainer",
    "World": "samplers.world",
    "fit": "samplers.training.loop",
    "read_recipe": "samplers.training.recipe",
    "write_card": "samplers.training.cards",
}
"""Where each public name lives; imported when it is first asked for: whoever samples loads no trainer."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'samplers.training' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


__all__ = [
    "Optimisation",
    "StudentRecipe",
    "StudentTraining",
    "Trained",
    "Trainer",
    "Training",
    "World",
    "fit",
    "read_recipe",
    "write_card",
]
