"""What every trainer shares: recipes, data, the loop, checkpoints, cards. Imports models; solvers know nothing of it.

A method of one's own is a class of `StudentTraining` (or `Training`): its section's settings, `run`, `loss`, `validate` and
`card`; and a line in the entry-point group `bench.trainers`.
"""

from typing import TYPE_CHECKING

from samplers.lazy import lazily

if TYPE_CHECKING:
    from samplers.training.held_out import HeldOut, relative_rmse
    from samplers.training.loop import Trained, fit
    from samplers.training.optimisation import Optimisation, normal
    from samplers.training.precision import autocast
    from samplers.training.recipe import StudentRecipe, read_recipe
    from samplers.training.student import StudentTraining, as_teacher, card_of
    from samplers.training.trainer import Trainer, Training
    from samplers.world import World

__getattr__, __dir__, __all__ = lazily(
    globals(),
    {
        "samplers.training.held_out": "HeldOut relative_rmse",
        "samplers.training.loop": "Trained fit",
        "samplers.training.optimisation": "Optimisation normal",
        "samplers.training.precision": "autocast",
        "samplers.training.recipe": "StudentRecipe read_recipe",
        "samplers.training.student": "StudentTraining as_teacher card_of",
        "samplers.training.trainer": "Trainer Training",
        "samplers.world": "World",
    },
)
