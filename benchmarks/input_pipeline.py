"""How fast training images can be augmented: the library's ways beside Keras', in one run, turn by turn.

Each turn makes float32 batches of 128 out of uint8 images, in every way once; the turns alternate, so that
other work on the machine slows all ways alike. Prints a Markdown table: median, lowest and highest.

    python benchmarks/input_pipeline.py --dataset cifar10
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import keras
import numpy as np

import transferzoo as tz
from transferzoo.data.augmentation import AUGMENTATIONS
from transferzoo.data.batches import Batches

BATCH_SIZE = 128
REFERENCE = "Keras ImageDataGenerator, article"


def image_data_generator(x, y):
    """The article's own means."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    generator = ImageDataGenerator(rotation_range=2, horizontal_flip=True, zoom_range=0.1)
    flow = generator.flow(x, y, batch_size=BATCH_SIZE, shuffle=True)
    return lambda: (flow[index] for index in range(len(flow)))


def random_layers(x, y):
    """Keras' layers for the article's changes, compiled where the backend compiles."""
    layers = keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomRotation(2 / 360, fill_mode="nearest"),
            keras.layers.RandomZoom(0.1, 0.1, fill_mode="nearest"),
        ]
    )
    call = lambda images: layers(images, training=True)  # noqa: E731
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        call = tf.function(call)

    def batches():
        order = np.random.default_rng(0).permutation(len(x))
        for start in range(0, len(x), BATCH_SIZE):
            chosen = order[start : start + BATCH_SIZE]
            yield keras.ops.convert_to_numpy(call(x[chosen].astype("float32"))), y[chosen]

    return batches


def ours(augmentation):
    """The library's, as training uses it."""

    def prepare(x, y):
        made = Batches(
            x,
            y.argmax(axis=1),
            batch_size=BATCH_SIZE,
            num_classes=y.shape[1],
            shuffle=True,
            augmentation=augmentation,
        )

        def batches():
            yield from made
            made.epoch += 1

        return batches

    return prepare


WAYS = {
    REFERENCE: image_data_generator,
    "Keras random layers, article": random_layers,
    **{f"transferzoo, {name}": ours(AUGMENTATIONS[name]) for name in ("article", "light", "strong")},
}


def measure(x, y, repeats):
    """Return way -> images a second, one figure a turn; a first turn warms up and is not counted."""
    made = {name: prepare(x, y) for name, prepare in WAYS.items()}
    speeds = {name: [] for name in made}
    for turn in range(repeats + 1):
        for name, batches in made.items():
            start = time.perf_counter()
            count = sum(len(images) for images, _ in batches())
            if turn:
                speeds[name].append(count / (time.perf_counter() - start))
    return speeds


def table(speeds):
    """Return the figures as Markdown."""
    reference = statistics.median(speeds[REFERENCE])
    lines = ["| augmentation | images/s, median | lowest to highest | times the first |", "|---|---|---|---|"]
    for name, values in speeds.items():
        median, lowest, highest = statistics.median(values), min(values), max(values)
        lines.append(
            f"| {name} | {median:,.0f} | {lowest:,.0f} to {highest:,.0f} | {median / reference:.1f} |"
        )
    return "\n".join(lines)


def load(dataset, count):
    """Return `count` images, uint8, and one-hot labels; random pixels where no dataset is named."""
    if dataset is None:
        rng = np.random.default_rng(0)
        return rng.integers(0, 256, (count, 32, 32, 3)).astype("uint8"), np.eye(10)[
            rng.integers(0, 10, count)
        ]
    data = tz.load_dataset(dataset)
    chosen = np.arange(count) % len(data.x_train)
    return data.x_train[chosen], np.eye(data.num_classes)[data.y_train[chosen]]


def main():
    """Measure, print, and write where that was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", help="a named dataset; default: random pixels, 32×32")
    parser.add_argument("--images", type=int, default=5120, help="images a turn (default 5120)")
    parser.add_argument("--repeats", type=int, default=7, help="turns (default 7)")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    x, y = load(options.dataset, options.images)
    speeds = measure(x, y, options.repeats)
    setting = (
        f"{platform.machine()}, {os.cpu_count()} CPU cores, Keras {keras.__version__} on "
        f"{keras.backend.backend()}, "
        f"{len(x):,} images {'×'.join(map(str, x.shape[1:]))} of {options.dataset or 'random pixels'}, "
        f"batches of {BATCH_SIZE}, {options.repeats} turns"
    )
    print(f"{setting}\n\n{table(speeds)}")
    if options.json:
        options.json.write_text(json.dumps({"setting": setting, "images_per_second": speeds}, indent=1))


if __name__ == "__main__":
    main()
