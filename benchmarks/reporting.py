"""What all benchmarks say alike: their machine, their tables, their files. Not run by itself."""

import argparse
import ast
import json
import os
import platform
import statistics
from pathlib import Path


def parser(docstring):
    """Return a parser that shows a script's docstring as it stands, with the option that all scripts have."""
    made = argparse.ArgumentParser(
        description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="also write all figures to this file")
    return made


def parts_of(run):
    """Return recipe, epochs or None, and options of a run written ``RECIPE:EPOCHS+OPTION=VALUE+…``."""
    name, *told = run.split("+")
    recipe, _, epochs = name.partition(":")
    given = dict(option.split("=", 1) for option in told)
    return recipe, int(epochs) if epochs else None, {key: _value(text) for key, text in given.items()}


def _value(text):
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def judged_options(made, seeds):
    """Return the options of a script that judges by training images that it sets aside."""
    made.add_argument("--judges", type=int, default=2_000, help="images set aside (default 2000)")
    made.add_argument("--seeds", type=int, default=seeds, help=f"(default {seeds})")
    made.add_argument("--dataset", default="cifar10", help="(default cifar10)")
    made.add_argument("--weights", default="imagenet", choices=("imagenet", "cifar10", "none"))
    made.add_argument(
        "--file", action="append", default=[], metavar="BACKBONE=PATH", help="a backbone's weights file"
    )
    return made.parse_args()


def set_aside(options):
    """Return training images and labels, how many judge (the first), classes, and the setting in words.

    Behind the judges come as many as the largest of `options.sizes` needs, and a quarter for validation.
    """
    import numpy as np

    import transferzoo as tz

    data = tz.load_dataset(options.dataset, validation=0.1, seed=0)
    order = np.random.default_rng(0).permutation(len(data.x_train))
    judges = min(options.judges, len(order) // 4)
    chosen = order[: judges + max(options.sizes) * 5 // 4 + 1]
    setting = (
        f"{machine()}; weights {options.weights}; {options.dataset}, {judges:,} images to judge by; "
        f"{options.seeds} seed{'s' if options.seeds > 1 else ''}"
    )
    return data.x_train[chosen], data.y_train[chosen], judges, data.num_classes, setting


def weights_of(options, backbone):
    """Return the weights that a script was told to give a backbone: its file, a name, or None."""
    weights = dict(each.split("=", 1) for each in options.file).get(backbone, options.weights)
    return None if weights == "none" else weights


def machine():
    """Return, in one line, what a timing depends on. Loads Keras and the backend."""
    import keras

    import transferzoo as tz

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    device = "CPU only"
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_physical_devices("GPU")
        if found:
            details = tf.config.experimental.get_device_details(found[0])
            device = details.get("device_name", "a GPU")
    elif backend == "jax":
        import jax

        if jax.default_backend() != "cpu":
            device = jax.devices()[0].device_kind
    elif backend == "torch":
        import torch

        if torch.cuda.is_available():
            device = torch.cuda.get_device_name()
    return (
        f"{platform.machine()}, {cores} CPU cores, {device}, Python {platform.python_version()}, "
        f"Keras {keras.__version__} on {backend}, transferzoo {tz.__version__}"
    )


def table(columns, rows):
    """Return rows of text as a Markdown table."""
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def spread(values, digits=2):
    """Return the median, with the lowest and highest where there are several."""
    if not values:
        return "n/a"
    median = f"{statistics.median(values):,.{digits}f}"
    if len(values) == 1:
        return median
    return f"{median} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def write_json(path, figures):
    """Write the figures; nothing where no path was given."""
    if path is not None:
        path = Path(path).absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        # beside, then renamed: a plot or page that reads the file never finds half of it
        part = path.with_name(f".{path.name}.part")
        part.write_text(json.dumps(figures, indent=1), encoding="utf-8")
        part.replace(path)


def add_data_options(made, *, train, validation, test):
    """Add the options that `load` takes."""
    made.add_argument("--dataset", default="cifar10", help="a name, or a folder of photos (default cifar10)")
    made.add_argument("--train", type=int, default=train, help=f"training images (default {train})")
    made.add_argument(
        "--validation", type=int, default=validation, help=f"validation images (default {validation})"
    )
    made.add_argument("--test", type=int, default=test, help=f"test images (default {test})")
    made.add_argument("--seed", type=int, default=0, help="(default 0)")
    made.add_argument(
        "--weights", default="imagenet", choices=("imagenet", "none"), help="(default imagenet)"
    )


def load(options):
    """Return the images that the options ask for; fewer where the dataset has fewer."""
    from transferzoo.data.catalog import resolve_data

    data = resolve_data(options.dataset, seed=options.seed)
    return data.subset(
        train=min(options.train, len(data.x_train)),
        validation=min(options.validation, len(data.x_validation)),
        test=min(options.test, len(data.x_test)),
        seed=options.seed,
    )


def warm_up(data):
    """Do once what a process does once, so that the first row does not pay for it."""
    import keras

    import transferzoo as tz

    few = data.subset(train=data.num_classes, validation=data.num_classes, test=data.num_classes)
    tz.fit_and_evaluate("mobilenet_025", few, recipe="linear_probe", weights=None, cache=False, verbose=False)
    keras.backend.clear_session()


def accuracy_of(model, data):
    """Return the fraction of test images that a model gets right."""
    found = model.predict(data.x_test.astype("float32"), batch_size=128, verbose=0).argmax(axis=1)
    return float((found == data.y_test).mean())


def weights(options):
    """Return what the library calls these weights."""
    return None if options.weights == "none" else options.weights
