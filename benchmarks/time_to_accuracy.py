"""How soon is a model good enough? The article's script, ported literally, against this library's recipes.

Both sides start from the same pretrained backbone and the same training images, one after the other in one
process. The clock runs from the call, so building and loading weights count; testing does not: the clock is
stopped while a model is tested on all test images, before its first step and after each epoch.

    python benchmarks/time_to_accuracy.py --runs port:5 default:1 --stop --repeats 3
    python benchmarks/time_to_accuracy.py --runs port:5 call+recipe=linear_probe+train=2000 --stop --repeats 3
    python benchmarks/time_to_accuracy.py --runs linear_probe head+head=mlp default fine_tune

A run is ``port``, ``call`` or a recipe, then ``:EPOCHS`` where that differs from the recipe's (3 for the
port), then ``+OPTION=VALUE`` for each option of `fit_and_evaluate`. A ``call`` is timed as a whole, from the
call to its return, with its own testing, saving nothing; ``train=N`` gives it N training images, a quarter as
many for validation and half as many for its test, and all test images judge the model that it returns.

Runs beside a port are compared with that of the same repeat; the accuracies after so many minutes are the
last repeat's. The goal of the first two commands: 65 % on the test images at least 20 times sooner than the
port.
"""

import time

import numpy as np
from article_port import train_port
from reporting import accuracy_of, machine, parser, parts_of, spread, table, warm_up, weights, write_json


class ReachedError(Exception):
    """The goal is reached, and nothing more is asked."""


def clock(data, goal, stop):
    """Return a callback that notes seconds and test accuracy when a fit begins and after each epoch."""
    import keras

    class Clock(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.points = []
            self.began = time.perf_counter()

        def on_train_begin(self, logs=None):
            self.note("before the first step")

        def on_epoch_end(self, epoch, logs=None):
            self.note(f"epoch {epoch + 1}")

        def note(self, what):
            # heads on cached features are tested when they are handed over
            if self.model.input_shape[1:] != data.x_test.shape[1:]:
                return
            stopped = time.perf_counter()
            batches = range(0, len(data.x_test), 250)
            outputs = [
                self.model.predict_on_batch(data.x_test[start : start + 250].astype("float32"))
                for start in batches
            ]
            accuracy = float((np.concatenate(outputs).argmax(axis=1) == data.y_test).mean())
            self.keep(what, stopped - self.began, accuracy)
            if stop and accuracy >= goal:
                raise ReachedError
            self.began += time.perf_counter() - stopped

        def keep(self, what, seconds, accuracy):
            self.points.append((what, seconds, accuracy))
            print(f"  {what:22s} {seconds:8.1f} s  {accuracy:.2%}", flush=True)

    return Clock()


def time_call(options, data, given):
    """Return the one point of a whole call: its seconds, and the accuracy of what it returns."""
    import transferzoo as tz

    count = given.pop("train", len(data.x_train))
    few = data.subset(
        train=count,
        validation=min(max(data.num_classes, count // 4), len(data.x_validation)),
        test=min(max(data.num_classes, count // 2), len(data.x_test)),
    )
    began = time.perf_counter()
    result = tz.fit_and_evaluate(
        options.backbone, few, weights=weights(options), cache=False, verbose=False, **given
    )
    seconds = time.perf_counter() - began
    accuracy = accuracy_of(result.model, data)
    print(f"  {'the call returns':22s} {seconds:8.1f} s  {accuracy:.2%}", flush=True)
    return [("the call returns", seconds, accuracy)]


def carry_out(what, options, data, raw):
    """Train one run and return its points: what, seconds, test accuracy."""
    import keras

    import transferzoo as tz

    recipe, epochs, given = parts_of(what)
    print(what, flush=True)
    keras.backend.clear_session()
    if recipe == "call":
        return time_call(options, data, given)
    timed = clock(data, options.accuracy, options.stop)
    try:
        if recipe == "port":
            train_port(
                options.backbone, *raw, weights=weights(options), epochs=epochs or 3, callbacks=[timed]
            )
            return timed.points
        result = tz.fit_and_evaluate(
            options.backbone,
            data,
            recipe=recipe,
            weights=weights(options),
            cache=False,
            callbacks=[timed],
            verbose=False,
            **({} if epochs is None else {"epochs": epochs}),
            **given,
        )
    except ReachedError:
        return timed.points
    if timed.points:
        seconds = timed.points[-1][1]
    else:
        # a head alone was trained, on features, where no callback sees the call's beginning: building is
        # done once more, for its seconds
        began = time.perf_counter()
        tz.build(options.backbone, data.num_classes, weights=weights(options))
        seconds = time.perf_counter() - began + result.costs["train_seconds"]
    # the model that is handed over is the best epoch's on validation images where the recipe says so
    timed.keep("handed over", seconds, result.accuracy)
    return timed.points


def until(points, accuracy):
    """Return the seconds until a test accuracy is reached, or None."""
    return next((seconds for _, seconds, reached in points if reached >= accuracy), None)


def within(points, minutes):
    """Return the last test accuracy noted in so many minutes, in percent, or nothing."""
    reached = [accuracy for _, seconds, accuracy in points if seconds <= 60 * minutes]
    return f"{reached[-1]:.1%}" if reached else ""


def rows(runs, records, accuracy):
    """Return the table's rows: one a run, over all repeats."""
    port = next((run for run in runs if run.startswith("port")), None)
    ports = [until(points, accuracy) for run, points in zip(runs, records, strict=True) if run == port]
    for run in dict.fromkeys(runs):
        found = [points for name, points in zip(runs, records, strict=True) if name == run]
        first = [until(points, accuracy) for points in found]
        ratios = [theirs / mine for theirs, mine in zip(ports, first, strict=False) if theirs and mine]
        _, seconds, last = found[-1][-1]
        yield (
            run,
            spread([each for each in first if each], 1),
            spread(ratios, 1) if not run.startswith("port") else "",
            *(within(found[-1], minutes) for minutes in (2, 10, 30)),
            f"{last:.1%} ({seconds:,.0f} s)",
        )


def main():
    """Run the command line."""
    made = parser(__doc__)
    made.add_argument(
        "--runs", nargs="+", default=["port:5", "default"], metavar="RUN", help="(default port:5 default)"
    )
    made.add_argument("--repeats", type=int, default=1, help="of all runs, in turn (default 1)")
    made.add_argument(
        "--backbone", default="mobilenet", choices=("mobilenet", "resnet50"), help="(default mobilenet)"
    )
    made.add_argument(
        "--weights", default="imagenet", choices=("imagenet", "none"), help="(default imagenet)"
    )
    made.add_argument("--dataset", default="cifar10", help="a named dataset (default cifar10)")
    made.add_argument(
        "--validation", type=float, default=0.1, help="the library's share (default 0.1; the port takes 0.3)"
    )
    made.add_argument("--train", type=int, help="take fewer training images, on both sides")
    made.add_argument("--accuracy", type=float, default=0.65, help="the goal (default 0.65)")
    made.add_argument("--stop", action="store_true", help="end each run once it has reached the goal")
    options = made.parse_args()

    import transferzoo as tz

    data = tz.load_dataset(options.dataset, validation=options.validation, seed=0)
    raw = (
        np.concatenate([data.x_train, data.x_validation]),
        np.concatenate([data.y_train, data.y_validation]),
    )
    if options.train:
        chosen = np.random.default_rng(0).permutation(len(raw[0]))[: options.train]
        raw = raw[0][chosen], raw[1][chosen]
        held_out = max(data.num_classes, round(options.train * options.validation))
        data = data.subset(train=options.train - held_out, validation=held_out, seed=0)
    warm_up(data)
    runs = options.runs * options.repeats
    records = [carry_out(run, options, data, raw) for run in runs]
    setting = f"{machine()}; {options.backbone}, weights {options.weights}; {data!r}"
    goal = f"{options.accuracy:.0%}"
    columns = (
        "run",
        f"seconds until {goal}",
        "times sooner than the port",
        "2 min",
        "10 min",
        "30 min",
        "last",
    )
    print(f"\n{setting}\n\n{table(columns, rows(runs, records, options.accuracy))}")
    write_json(options.json, {"setting": setting, "runs": list(zip(runs, records, strict=True))})


if __name__ == "__main__":
    main()
