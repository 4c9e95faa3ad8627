"""Whether the library costs anything: the article's recipe by a literal port and by transferzoo.

Same images, batches, augmentation, head, optimizer, validation and epochs. Each side runs in a process of
its own, so that its peak memory is its own; the sides alternate, so that other work on the machine slows
both alike. Both read the same arrays from a file. The goals: the library's training images per second at
least 0.98 of the port's, and its peak memory at most 0.6 of it on all 50,000 images.

    python benchmarks/same_work.py --dataset cifar10 --weights none --epochs 2 --repeats 3

Images per second are those of training steps alone, from an epoch's first batch to its last; the first epoch,
which compiles, is left out. Memory is the whole process's highest resident size, predictions on the test
images included. The library runs with `faithful=True`: raw pixels and repeated, augmented validation images,
as the port has them; `--corrected` runs the recipe as the library recommends it instead.

Where an epoch takes hours, `--steps` times a few steps of one, on all the images. Both sides then stop in the
same way, by a callback, after as many validation batches; all arrays are as in a whole run.

    python benchmarks/same_work.py --backbone resnet50 --steps 20
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Linux hands a parent's peak memory on to its children, so this process must stay small: no arrays, no Keras
from reporting import parser, spread, table, write_json

SIDES = ("port", "library")
SPEED_GOAL, MEMORY_GOAL = 0.98, 0.6
# of `--steps`: the first compiles, and those after it find batches that were made meanwhile
WARMING_STEPS = 5


def prepare(options, folder):
    """Write the images for both sides, training and validation part together."""
    import numpy as np

    import transferzoo as tz

    data = tz.load_dataset(options.dataset)
    x = np.concatenate([data.x_train, data.x_validation])
    y = np.concatenate([data.y_train, data.y_validation])
    chosen = np.random.default_rng(0).permutation(len(x))[: options.images]
    test = slice(0, max(options.images // 5, data.num_classes))
    arrays = {"x": x[chosen], "y": y[chosen], "x_test": data.x_test[test], "y_test": data.y_test[test]}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def clock(steps=None):
    """Return a callback that keeps seconds of training steps: one entry per epoch, or one of `steps` steps.

    With `steps` it ends the training after them, and the validation after as many batches.
    """
    import keras

    class Epochs(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seconds = []
            self._began = None

        def on_epoch_begin(self, epoch, logs=None):
            self._began = time.perf_counter()

        def on_test_begin(self, logs=None):
            self.stop()

        def stop(self):
            # the value of a weight is there once the device has done the last step
            keras.ops.convert_to_numpy(self.model.trainable_variables[-1])
            if self._began is not None:
                self.seconds.append(time.perf_counter() - self._began)
            self._began = None

    class Steps(Epochs):
        def on_epoch_begin(self, epoch, logs=None):
            pass

        def on_train_batch_end(self, batch, logs=None):
            if batch + 1 == WARMING_STEPS:
                self.stop()
                self._began = time.perf_counter()
            elif batch + 1 == WARMING_STEPS + steps:
                self.stop()
                self.model.stop_training = True

        def on_test_begin(self, logs=None):
            # an epoch that ends before its time is no measurement
            self._began = None

        def on_test_batch_end(self, batch, logs=None):
            self.model.stop_evaluating = batch + 1 >= steps

    return Epochs() if steps is None else Steps()


def run_side(options, folder):
    """Train and predict on one side; return its figures."""
    import resource

    import numpy as np
    from article_port import BATCH_SIZE

    x, y, x_test, y_test = (np.load(folder / f"{name}.npy") for name in ("x", "y", "x_test", "y_test"))
    weights = None if options.weights == "none" else options.weights
    name, timed = options.backbone[0], clock(options.steps)
    if options.side == "port":
        import article_port

        parts = article_port.split(x, y, seed=0)
        # as in the script, whose split takes the names of what it splits
        del x, y
        trained = article_port.train_parts(
            name,
            *parts,
            test=(x_test, y_test),
            weights=weights,
            epochs=options.epochs,
            seed=0,
            callbacks=[timed],
        )
        predicted = article_port.predict_classes(trained.model, x_test)
        images = trained.train_images
    else:
        import transferzoo as tz

        data = tz.from_arrays(x, y, x_test, y_test, validation=0.3)
        del x, y
        result = tz.fit_and_evaluate(
            name,
            data,
            recipe="article",
            faithful=not options.corrected,
            weights=weights,
            epochs=options.epochs,
            callbacks=[timed],
            verbose=False,
        )
        predicted = result.y_prob.argmax(axis=1)
        images = len(data.x_train)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    from reporting import machine

    if options.steps is None:
        speeds = [images / seconds for seconds in timed.seconds[1:]]
    elif timed.seconds:
        speeds = [options.steps * BATCH_SIZE / timed.seconds[0]]
    else:
        raise SystemExit(
            f"--steps {options.steps} must leave room in an epoch: {images} images make "
            f"{-(-images // BATCH_SIZE)} steps, and the first {WARMING_STEPS} only warm up"
        )
    return {
        "images_per_second": speeds,
        # kilobytes, except on macOS
        "peak_bytes": peak if sys.platform == "darwin" else peak * 1024,
        "accuracy": float(np.mean(predicted == y_test)),
        "train_images": images,
        "machine": machine(),
    }


def call(options, folder, role, backbone):
    """Run this script in a process of its own and return what it wrote."""
    written = folder / "figures.json"
    command = [
        *(sys.executable, __file__, "--side", role, "--folder", str(folder), "--json", str(written)),
        *("--backbone", backbone, "--images", str(options.images), "--epochs", str(options.epochs)),
        *("--dataset", options.dataset, "--weights", options.weights),
        *(["--corrected"] if options.corrected else []),
        *(["--steps", str(options.steps)] if options.steps else []),
    ]
    done = subprocess.run(command, env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ})
    if done.returncode:
        # it has said why
        sys.exit(done.returncode)
    return json.loads(written.read_text()) if role != "prepare" else None


def summarise(runs):
    """Return one backbone's ratios, library to port: of each pair's speeds, and of the peaks."""
    pairs = zip(*(runs[side] for side in SIDES), strict=True)
    speeds, peaks = [], []
    for port, library in pairs:
        speeds.append(
            statistics.median(library["images_per_second"]) / statistics.median(port["images_per_second"])
        )
        peaks.append(library["peak_bytes"] / port["peak_bytes"])
    return {"speed": speeds, "memory": peaks}


def rows_of(backbone, runs):
    """Return the table's rows for one backbone."""
    ratios = summarise(runs)
    for side in SIDES:
        speeds = [value for run in runs[side] for value in run["images_per_second"]]
        peaks = [run["peak_bytes"] / 2**20 for run in runs[side]]
        accuracy = statistics.mean(run["accuracy"] for run in runs[side])
        yield (backbone, side, spread(speeds, 0), spread(peaks, 0), f"{accuracy:.1%}")
    yield (backbone, "library / port", spread(ratios["speed"], 3), spread(ratios["memory"], 3), "")


def main():
    """Alternate the sides, print, and write where that was asked for."""
    made = parser(__doc__)
    made.add_argument("--dataset", default="cifar10", help="a named dataset (default cifar10)")
    made.add_argument(
        "--backbone", nargs="+", default=["mobilenet", "resnet50"], choices=("mobilenet", "resnet50")
    )
    made.add_argument(
        "--images", type=int, default=50_000, help="training and validation images together (default 50000)"
    )
    made.add_argument("--epochs", type=int, default=2, help="at least 2; the first only warms up (default 2)")
    made.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help=f"one epoch, ended after {WARMING_STEPS} steps that warm up and N that are timed",
    )
    made.add_argument("--repeats", type=int, default=3, help="runs of each side (default 3)")
    made.add_argument("--weights", default="none", choices=("imagenet", "none"), help="(default none)")
    made.add_argument("--corrected", action="store_true", help="the recipe without the article's faults")
    made.add_argument("--side", choices=("prepare", *SIDES), help="for the script itself: run only this")
    made.add_argument("--folder", type=Path, help="for the script itself: where the images are")
    options = made.parse_args()
    if options.epochs < 2:
        made.error("--epochs must be at least 2: the first only warms up")
    if options.steps is not None and options.steps < 1:
        made.error("--steps must be at least 1")
    if options.side == "prepare":
        prepare(options, options.folder)
        return
    if options.side:
        write_json(options.json, run_side(options, options.folder))
        return
    found = {name: {side: [] for side in SIDES} for name in options.backbone}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        call(options, folder, "prepare", options.backbone[0])
        for repeat in range(options.repeats):
            for backbone in options.backbone:
                # who goes first takes turns too
                for side in SIDES if repeat % 2 == 0 else SIDES[::-1]:
                    figures = call(options, folder, side, backbone)
                    found[backbone][side].append(figures)
                    speed = statistics.median(figures["images_per_second"])
                    print(
                        f"{backbone}, {side}, run {repeat + 1}: {speed:,.0f} images/s, "
                        f"{figures['peak_bytes'] / 2**20:,.0f} MiB",
                        file=sys.stderr,
                        flush=True,
                    )
    first = found[options.backbone[0]]["library"][0]
    duration = f"{options.epochs} epochs" if options.steps is None else f"{options.steps} steps of one epoch"
    setting = (
        f"{first['machine']}; {first['train_images']:,} training images of {options.dataset}, {duration}, "
        f"weights {options.weights}, {'corrected' if options.corrected else 'faithful'} recipe, "
        f"{options.repeats} runs a side: median (lowest to highest)"
    )
    columns = ("backbone", "side", "training images/s", "peak memory, MiB", "test accuracy")
    rows = [row for backbone, runs in found.items() for row in rows_of(backbone, runs)]
    print(f"{setting}\n\n{table(columns, rows)}\n")
    for backbone, runs in found.items():
        ratios = summarise(runs)
        speed, memory = statistics.median(ratios["speed"]), statistics.median(ratios["memory"])
        print(
            f"{backbone}: speed {speed:.3f}, goal at least {SPEED_GOAL}: "
            f"{'met' if speed >= SPEED_GOAL else 'missed'}; memory {memory:.3f}, goal at most {MEMORY_GOAL}: "
            f"{'met' if memory <= MEMORY_GOAL else 'missed'}"
        )
    ratios = {backbone: summarise(runs) for backbone, runs in found.items()}
    write_json(options.json, {"setting": setting, "runs": found, "ratios": ratios})


if __name__ == "__main__":
    main()
