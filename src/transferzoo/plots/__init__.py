"""Arrays and records in, matplotlib Axes out; nothing is ever shown."""

from transferzoo.ground.metrics import is_fraction, less_is_better, readable
from transferzoo.plots.axes import BLUE, GREY, VERMILLION
from transferzoo.plots.curves import history, learning_rates
from transferzoo.plots.matrices import confusion_matrix
from transferzoo.plots.pictures import flips, image_grid, mistakes
from transferzoo.plots.rejection import risk_coverage
from transferzoo.plots.rungs import ladder
from transferzoo.plots.scores import accuracy_against_cost, comparison

__all__ = [
    "BLUE",
    "GREY",
    "VERMILLION",
    "accuracy_against_cost",
    "comparison",
    "confusion_matrix",
    "flips",
    "history",
    "image_grid",
    "is_fraction",
    "ladder",
    "learning_rates",
    "less_is_better",
    "mistakes",
    "readable",
    "risk_coverage",
]
