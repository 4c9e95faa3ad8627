"""How fast training images can be augmented: the library's ways beside Keras', in one run, turn by turn.

Each turn makes float32 batches of 128 out of uint8 images, in every way once; the turns alternate, so that
other work on the machine slows all ways alike. Prints a Markdown table: median, lowest and highest.

    python benchmarks/input_pipeline.py --dataset cifar10
"""

import statistics
import time

from reporting import machine, parser, spread, table, write_json

BATCH_SIZE = 128
REFERENCE = "Keras ImageDataGenerator, article"


def image_data_generator(x, y):
    """The article's own means."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    generator = ImageDataGenerator(rotation_range=2, horizontal_flip=True, zoom_range=0.1)
    flow = generator.flow(x, y, batch_size=BATCH_SIZE, shuffle=True)

    def batches():
        yield from (flow[index] for index in range(len(flow)))
        flow.on_epoch_end()

    return batches


def random_layers(x, y):
    """Keras' layers for the article's changes, compiled where that makes them faster."""
    import keras
    import numpy as np

    layers = keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomRotation(2 / 360, fill_mode="nearest"),
            keras.layers.RandomZoom(0.1, 0.1, fill_mode="nearest"),
        ]
    )

    def call(images):
        return layers(images, training=True)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # under jax.jit they took more than twice as long as step by step, on two CPU cores
        call = tf.function(call)
    rng = np.random.default_rng(0)

    def batches():
        order = rng.permutation(len(x))
        for start in range(0, len(x), BATCH_SIZE):
            chosen = order[start : start + BATCH_SIZE]
            yield keras.ops.convert_to_numpy(call(x[chosen].astype("float32"))), y[chosen]

    return batches


def ours(name):
    """The library's, as training uses it."""

    def prepare(x, y):
        from transferzoo.data.augmentation import AUGMENTATIONS
        from transferzoo.data.batches import Batches

        made = Batches(
            x,
            y.argmax(axis=1),
            batch_size=BATCH_SIZE,
            num_classes=y.shape[1],
            shuffle=True,
            augmentation=AUGMENTATIONS[name],
        )

        def batches():
            yield from made
            made.epoch += 1

        return batches

    return prepare


WAYS = {
    REFERENCE: image_data_generator,
    "Keras random layers, article": random_layers,
    **{f"transferzoo, {name}": ours(name) for name in ("article", "light", "strong")},
}


def measure(x, y, repeats):
    """Return way -> images per second, one figure a turn; a first turn warms up and is not counted."""
    made = {name: prepare(x, y) for name, prepare in WAYS.items()}
    speeds = {name: [] for name in made}
    for turn in range(repeats + 1):
        for name, batches in made.items():
            began = time.perf_counter()
            count = sum(len(images) for images, _ in batches())
            if turn:
                speeds[name].append(count / (time.perf_counter() - began))
    return speeds


def load(dataset, count):
    """Return `count` images, uint8, and one-hot labels; random pixels where no dataset is named."""
    import numpy as np

    import transferzoo as tz

    if dataset is None:
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (count, 32, 32, 3)).astype("uint8")
        return images, np.eye(10)[rng.integers(0, 10, count)]
    data = tz.load_dataset(dataset)
    chosen = np.arange(count) % len(data.x_train)
    return data.x_train[chosen], np.eye(data.num_classes)[data.y_train[chosen]]


def main():
    """Measure, print, and write where that was asked for."""
    made = parser(__doc__)
    made.add_argument("--dataset", help="a named dataset; default: random pixels, 32×32")
    made.add_argument("--images", type=int, default=5120, help="images a turn (default 5120)")
    made.add_argument("--repeats", type=int, default=7, help="turns (default 7)")
    options = made.parse_args()
    x, y = load(options.dataset, options.images)
    speeds = measure(x, y, options.repeats)
    setting = (
        f"{machine()}; {len(x):,} images {'×'.join(map(str, x.shape[1:]))} of "
        f"{options.dataset or 'random pixels'}, batches of {BATCH_SIZE}; "
        f"{options.repeats} turns: median (lowest to highest)"
    )
    reference = statistics.median(speeds[REFERENCE])
    rows = [
        (name, spread(values, 0), f"{statistics.median(values) / reference:.1f}")
        for name, values in speeds.items()
    ]
    print(f"{setting}\n\n{table(('augmentation', 'images/s', 'times the first'), rows)}")
    write_json(options.json, {"setting": setting, "images_per_second": speeds})


if __name__ == "__main__":
    main()
