"""A finished model, tested on a dataset: a row beside the models that were trained on it."""

from __future__ import annotations

import datetime
from typing import Any

import keras

from transferzoo.costs.measure import costs_in_use, measure_latency, measure_throughput
from transferzoo.data.dataset import Dataset
from transferzoo.errors import invalid
from transferzoo.evaluation import evaluate, groups_to_count
from transferzoo.exporting.exported import ExportedModel
from transferzoo.exporting.writing import check_data
from transferzoo.ground.environment import environment
from transferzoo.models.construct import model_digest
from transferzoo.planning import describe_data
from transferzoo.results.identity import settings_hash
from transferzoo.results.predictor import Predictor, images_record
from transferzoo.results.result import Result


def evaluate_predictor(predictor: Predictor, data: Dataset, name: str | None) -> Result:
    """Test a model on a dataset's test images; see `Predictor.evaluate`."""
    check_data(predictor, data)
    if not len(data.x_test):
        raise invalid("data", "a dataset with test images", f"'{data.name}', which has none")
    started = datetime.datetime.now(datetime.UTC)
    y_prob = predictor.probabilities(data.x_test)
    validation = None
    if len(data.x_validation):
        validation = (data.y_validation, predictor.probabilities(data.x_validation))
    described, costs = _known(predictor.model, data)
    label = name or described["name"]
    settings = {"model": {**described, "name": label}, "data": describe_data(data), "seed": None}
    return Result(
        name=label,
        metrics=evaluate(
            data.y_test,
            y_prob,
            class_names=data.class_names,
            validation=validation,
            groups=groups_to_count(data.groups.get("test")),
        ),
        history={},
        y_true=data.y_test,
        y_prob=y_prob,
        class_names=data.class_names,
        settings=settings,
        costs=costs,
        environment=environment(),
        index=data.test_index,
        files=data.files.get("test"),
        groups=data.groups.get("test"),
        validation_true=None if validation is None else validation[0],
        validation_prob=None if validation is None else validation[1],
        provenance={
            "call": {"evaluate": label, "data": [dict(each) for each in data.calls]},
            "hashes": {"settings": settings_hash(settings), "data": data.content_hash()},
            "images": images_record(data.input_shape, data.reading),
            "started": started.isoformat(timespec="seconds"),
        },
        _model=predictor.model if isinstance(predictor.model, keras.Model) else None,
    )


def _known(model: Any, data: Dataset) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a model is called and known by, and what it costs."""
    if not isinstance(model, ExportedModel):
        return {"name": str(model.name), "digest": model_digest(model)}, costs_in_use(model, data.x_test)
    record = model.record
    described = {
        "name": model.path.name,
        "format": model.format,
        "precision": record.get("precision"),
        "digest": settings_hash(record["sha256"]),
    }
    costs = {
        "parameters": record["parameters"],
        "size_bytes": record["file_bytes"],
        "file_bytes": record["file_bytes"],
        **measure_latency(model, data.x_test),
        **measure_throughput(model, data.x_test),
    }
    return described, costs
