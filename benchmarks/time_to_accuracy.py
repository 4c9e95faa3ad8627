"""How soon is a model good enough? The article's script, ported literally, against this library's recipes.

Both sides start from the same pretrained backbone and the same training images, one after the other in one
process. The clock runs from the call, so building and loading weights count; testing does not: it is stopped
while a model is tested on all test images.

    python benchmarks/time_to_accuracy.py --runs port:3 default:12 linear_probe

A run is ``port:EPOCHS``, or ``RECIPE[:EPOCHS[:HEAD]]``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from article_port import train_port

import transferzoo as tz


class Clock(keras.callbacks.Callback):
    """Notes seconds and test accuracy when a fit begins and after each epoch; testing does not count."""

    def __init__(self, x_test: np.ndarray, y_test: np.ndarray) -> None:
        super().__init__()
        self.x_test, self.y_test = x_test, y_test
        self.points: list[tuple[str, float, float]] = []
        self.began = time.perf_counter()

    def note(self, what: str) -> None:
        stopped = time.perf_counter()
        batches = range(0, len(self.x_test), 250)
        outputs = [self.model.predict_on_batch(self.x_test[i : i + 250].astype("float32")) for i in batches]
        accuracy = float((np.concatenate(outputs).argmax(axis=1) == self.y_test).mean())
        self.points.append((what, stopped - self.began, accuracy))
        print(f"  {what:12s} {stopped - self.began:7.1f} s  {accuracy:.2%}", flush=True)
        self.began += time.perf_counter() - stopped

    def on_train_begin(self, logs: object = None) -> None:
        if self.model.input_shape[1:] == self.x_test.shape[1:]:
            self.note("begin")

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        if self.model.input_shape[1:] == self.x_test.shape[1:]:
            self.note(f"epoch {epoch + 1}")


def run(what: str, backbone: str, data: tz.Dataset, raw: tuple[np.ndarray, np.ndarray], weights: str | None) -> dict:
    """Carry one run out and return its points."""
    recipe, _, rest = what.partition(":")
    epochs, _, head = rest.partition(":")
    print(what, flush=True)
    keras.backend.clear_session()
    clock = Clock(data.x_test, data.y_test)
    if recipe == "port":
        train_port(backbone, *raw, weights=weights, epochs=int(epochs or 3), callbacks=[clock])
    else:
        options = {"epochs": int(epochs)} if epochs else {}
        if head:
            options["head"] = head
        result = tz.fit_and_evaluate(
            backbone, data, recipe=recipe, weights=weights, cache=False, callbacks=[clock], **options
        )
        # what is evaluated at the end is the model that is handed over, its best epoch where the recipe keeps it
        seconds = clock.points[-1][1] if clock.points else result.costs["train_seconds"]
        clock.points.append(("handed over", seconds, result.accuracy))
        print(f"  handed over  {seconds:7.1f} s  {result.accuracy:.2%}", flush=True)
    return {"run": what, "points": clock.points}


def until(points: list, accuracy: float) -> float | None:
    """Return the seconds until the test accuracy is reached, or None."""
    return next((seconds for _, seconds, reached in points if reached >= accuracy), None)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", default=["port:3", "default"])
    parser.add_argument("--backbone", default="mobilenet")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--validation", type=float, default=0.1, help="the library's share; the port takes 0.3")
    parser.add_argument("--train", type=int, help="take fewer training images, on the library's side")
    parser.add_argument("--accuracy", type=float, default=0.65)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(format="  %(message)s")
    logging.getLogger("transferzoo").setLevel(logging.INFO)

    weights = None if arguments.weights == "none" else arguments.weights
    data = tz.load_dataset(arguments.dataset, validation=arguments.validation, seed=0)
    raw = (
        np.concatenate([data.x_train, data.x_validation]),
        np.concatenate([data.y_train, data.y_validation]),
    )
    if arguments.train:
        data = data.subset(train=arguments.train)
        raw = (raw[0][: arguments.train * 10 // 7], raw[1][: arguments.train * 10 // 7])
    records = [run(what, arguments.backbone, data, raw, weights) for what in arguments.runs]
    print(f"\n{os.cpu_count()} CPU cores, Keras {keras.__version__} on {keras.backend.backend()}, {data}")
    goal = f"{arguments.accuracy:.0%}"
    print(f"\n| run | seconds until {goal} | times sooner than the port | last test accuracy | after seconds |")
    print("|---|---:|---:|---:|---:|")
    port = next((until(r["points"], arguments.accuracy) for r in records if r["run"].startswith("port")), None)
    for record in records:
        first = until(record["points"], arguments.accuracy)
        _, seconds, accuracy = record["points"][-1]
        ratio = f"{port / first:.1f}" if port and first else ""
        print(f"| {record['run']} | {first:.0f} |" if first else f"| {record['run']} | not reached |", end="")
        print(f" {ratio} | {accuracy:.1%} | {seconds:,.0f} |")
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=2) + "\n")


if __name__ == "__main__":
    main()
