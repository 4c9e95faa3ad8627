"""Whether a process that makes many runs keeps growing.

Makes the same small run again and again, with other seeds, and prints the resident memory after each. Beside
it, with `--alone`, plain Keras does the same number of fits, each of a new model.

    python benchmarks/memory.py --runs 30
    python benchmarks/memory.py --runs 30 --alone

The goal: from the fifth run on, less than a megabyte per run. The first few fill caches of TensorFlow's.
"""

import gc
import statistics
import sys

import psutil
from reporting import machine, parser, table, write_json

SETTLED = 5


def resident():
    """Return the process's resident memory in megabytes, garbage collected."""
    gc.collect()
    return psutil.Process().memory_info().rss / 1e6


def ours(options, data):
    """Make one run after another, and yield the memory after each."""
    import transferzoo as tz

    for seed in range(options.runs):
        tz.fit_and_evaluate(
            options.backbone,
            data,
            weights=None,
            epochs=1,
            image_size=32,
            seed=seed,
            lint=False,
            verbose=False,
        )
        yield resident()


def alone(options, data):
    """Fit one new model after another with Keras, and yield the memory after each."""
    import keras

    import transferzoo as tz

    for seed in range(options.runs):
        keras.utils.set_random_seed(seed)
        model = tz.build(options.backbone, data.num_classes, weights=None, image_size=32)
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(data.x_train, data.y_train, verbose=0)
        model.predict(data.x_test, verbose=0)
        del model
        yield resident()


def main():
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--backbone", default="mobilenet_025", help="(default mobilenet_025)")
    made.add_argument("--runs", type=int, default=30, help="(default 30)")
    made.add_argument("--alone", action="store_true", help="plain Keras in place of the library")
    options = made.parse_args()
    import transferzoo as tz

    print(f"{machine()}; {options.backbone}, random weights, 100 digits, one epoch", flush=True)
    data = tz.load_dataset("digits").subset(train=100, validation=50, test=50)
    found = []
    for megabytes in (alone if options.alone else ours)(options, data):
        found.append(megabytes)
        print(f"run {len(found)}: {megabytes:,.0f} MB", file=sys.stderr, flush=True)
    first = min(SETTLED, len(found)) - 1
    growth = (found[-1] - found[first]) / max(1, len(found) - 1 - first)
    rows = [[f"{number + 1}", f"{found[number]:,.0f}"] for number in sorted({0, first, len(found) - 1})]
    print(table(["runs", "resident memory, MB"], rows))
    print(f"\n{growth:.2f} MB a run from run {first + 1} on; median {statistics.median(found):,.0f} MB")
    write_json(options.json, {"megabytes": found, "growth": growth, "alone": options.alone})


if __name__ == "__main__":
    main()
