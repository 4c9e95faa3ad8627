"""Arrays and records in, matplotlib Axes out; nothing is ever shown."""

from transferzoo.ground.metrics import is_fraction, less_is_better, readable
from transferzoo.plots.axes import BLUE, GREY, VERMILLION
from transferzoo.plots.bars import comparison
from transferzoo.plots.changed_images import flips
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
from transferzoo.plots.wrong_images import mistakes

__all__ = [
    "BLUE",
    "GREY",
    "VERMILLION",
    "accuracy_against_cost",
    "accuracy_by",
    "comparison",
    "confusion_matrix",
    "flips",
    "heat_maps",
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
