"""Arrays and records in, matplotlib Axes out; nothing is ever shown."""

from transferzoo.ground.metrics import is_fraction, less_is_better, readable
from transferzoo.plots.axes import BLUE, GREY, VERMILLION
from transferzoo.plots.bars import comparison
from transferzoo.plots.changed_images import flips
from transferzoo.plots.classes import class_accuracies, confusion_difference
from transferzoo.plots.clouds import feature_cloud
from transferzoo.plots.cost_points import accuracy_against_cost
from transferzoo.plots.heat_maps import heat_maps
from transferzoo.plots.image_grids import image_grid
from transferzoo.plots.learning_curves import history
from transferzoo.plots.lines import accuracy_by
from transferzoo.plots.matrices import confusion_matrix
from transferzoo.plots.rates import learning_rates
from transferzoo.plots.rejection import risk_coverage
from transferzoo.plots.reliability_bins import reliability
from transferzoo.plots.rungs import ladder
from transferzoo.plots.seed_curves import histories
from transferzoo.plots.wrong_images import mistakes

__all__ = [
    "BLUE",
    "GREY",
    "VERMILLION",
    "accuracy_against_cost",
    "accuracy_by",
    "class_accuracies",
    "comparison",
    "confusion_difference",
    "confusion_matrix",
    "feature_cloud",
    "flips",
    "heat_maps",
    "histories",
    "history",
    "image_grid",
    "is_fraction",
    "ladder",
    "learning_rates",
    "less_is_better",
    "mistakes",
    "readable",
    "reliability",
    "risk_coverage",
]
