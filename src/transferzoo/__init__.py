"""transferzoo: which backbone, with which head and recipe, gives what accuracy at what cost.

This is a table of contents. A name's room is imported when the name is first used, so that
``import transferzoo`` loads neither Keras nor TensorFlow, matplotlib or scikit-learn.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from transferzoo.version import __version__

if TYPE_CHECKING:
    from transferzoo import calibration, errors, evaluation, heads, plots, statistics, studies, weights
    from transferzoo.backbones.backbone import Backbone, Preprocessing, Weights
    from transferzoo.backbones.catalog import backbone_info, list_backbones, register_backbone
    from transferzoo.class_maps import grad_cam
    from transferzoo.costs.macs import count_macs
    from transferzoo.costs.model_costs import Costs, measure_costs
    from transferzoo.data.arrays import from_arrays
    from transferzoo.data.augmentation import Augmentation
    from transferzoo.data.catalog import dataset_info, list_datasets, load_dataset, register_dataset
    from transferzoo.data.dataset import Dataset
    from transferzoo.data.folder import from_directory
    from transferzoo.data.reading import read_images
    from transferzoo.data.stream import from_batches
    from transferzoo.data.table import from_table
    from transferzoo.errors import TransferZooError
    from transferzoo.estimator import TransferClassifier
    from transferzoo.evaluation import evaluate
    from transferzoo.features.extract import extract_features
    from transferzoo.features.store import FeatureStore
    from transferzoo.fitting import Fitted, fit
    from transferzoo.heads import Head, head_info, list_heads, register_head
    from transferzoo.linting.advice import lint
    from transferzoo.linting.findings import Finding
    from transferzoo.models.construct import build
    from transferzoo.rate_finder import RateCurve, find_learning_rate
    from transferzoo.recipes.catalog import list_recipes, recipe_info, register_recipe
    from transferzoo.recipes.phase import Phase, Plateau
    from transferzoo.recipes.recipe import Recipe
    from transferzoo.results.differences import diff
    from transferzoo.results.predictor import Prediction, Predictor, load_model
    from transferzoo.results.result import Result
    from transferzoo.results.verification import verify
    from transferzoo.runs import fit_and_evaluate
    from transferzoo.studies.comparing import compare
    from transferzoo.studies.ranking import Ranking
    from transferzoo.studies.study import Study
    from transferzoo.studies.transferability import rank

_ROOMS = {
    "Augmentation": "data.augmentation",
    "Backbone": "backbones.backbone",
    "Predictor": "results.predictor",
    "Costs": "costs.model_costs",
    "Dataset": "data.dataset",
    "FeatureStore": "features.store",
    "Finding": "linting.findings",
    "Fitted": "fitting",
    "Head": "heads",
    "Phase": "recipes.phase",
    "Plateau": "recipes.phase",
    "Prediction": "results.predictor",
    "Preprocessing": "backbones.backbone",
    "Ranking": "studies.ranking",
    "RateCurve": "rate_finder",
    "Recipe": "recipes.recipe",
    "Result": "results.result",
    "Study": "studies.study",
    "TransferClassifier": "estimator",
    "TransferZooError": "errors",
    "Weights": "backbones.backbone",
    "backbone_info": "backbones.catalog",
    "build": "models.construct",
    "compare": "studies.comparing",
    "count_macs": "costs.macs",
    "dataset_info": "data.catalog",
    "diff": "results.differences",
    "evaluate": "evaluation",
    "extract_features": "features.extract",
    "find_learning_rate": "rate_finder",
    "fit": "fitting",
    "fit_and_evaluate": "runs",
    "from_arrays": "data.arrays",
    "from_batches": "data.stream",
    "from_directory": "data.folder",
    "from_table": "data.table",
    "grad_cam": "class_maps",
    "head_info": "heads",
    "lint": "linting.advice",
    "list_backbones": "backbones.catalog",
    "list_datasets": "data.catalog",
    "list_heads": "heads",
    "list_recipes": "recipes.catalog",
    "load_dataset": "data.catalog",
    "load_model": "results.predictor",
    "measure_costs": "costs.model_costs",
    "rank": "studies.transferability",
    "read_images": "data.reading",
    "recipe_info": "recipes.catalog",
    "register_backbone": "backbones.catalog",
    "register_dataset": "data.catalog",
    "register_head": "heads",
    "register_recipe": "recipes.catalog",
    "verify": "results.verification",
}
_MODULES = ("calibration", "errors", "evaluation", "heads", "plots", "statistics", "studies", "weights")

__all__ = [
    "Augmentation",
    "Backbone",
    "Costs",
    "Dataset",
    "FeatureStore",
    "Finding",
    "Fitted",
    "Head",
    "Phase",
    "Plateau",
    "Prediction",
    "Predictor",
    "Preprocessing",
    "Ranking",
    "RateCurve",
    "Recipe",
    "Result",
    "Study",
    "TransferClassifier",
    "TransferZooError",
    "Weights",
    "__version__",
    "backbone_info",
    "build",
    "calibration",
    "compare",
    "count_macs",
    "dataset_info",
    "diff",
    "errors",
    "evaluate",
    "evaluation",
    "extract_features",
    "find_learning_rate",
    "fit",
    "fit_and_evaluate",
    "from_arrays",
    "from_batches",
    "from_directory",
    "from_table",
    "grad_cam",
    "head_info",
    "heads",
    "lint",
    "list_backbones",
    "list_datasets",
    "list_heads",
    "list_recipes",
    "load_dataset",
    "load_model",
    "measure_costs",
    "plots",
    "rank",
    "read_images",
    "recipe_info",
    "register_backbone",
    "register_dataset",
    "register_head",
    "register_recipe",
    "statistics",
    "studies",
    "verify",
    "weights",
]


def _import(module: str) -> Any:
    """Import a module; where it is the first to load Keras, without TensorFlow's log lines."""
    if "keras" in sys.modules or module in sys.modules:
        return importlib.import_module(module)
    from transferzoo.ground.quiet import quiet_import

    with quiet_import():
        return importlib.import_module(module)


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        value = getattr(_import(f"transferzoo.{_ROOMS[name]}"), name)
    elif name in _MODULES:
        value = _import(f"transferzoo.{name}")
    else:
        raise AttributeError(
            f"module 'transferzoo' has no attribute '{name}'", name=name, obj=sys.modules[__name__]
        )
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
