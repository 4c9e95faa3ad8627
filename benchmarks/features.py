"""What features computed once are worth: many heads, or many seeds, on one frozen backbone.

Ten runs with the cache, beginning with an empty one, against ten that compute the features each time. The
goal is 8 times faster at ten, on images enlarged to 96×96.

    python benchmarks/features.py --vary seeds --runs 10 --train 10000

The runs alternate, so that other work on the machine slows both alike. Two ratios are printed: of the
training, features included, and of the whole call, which also predicts the test images and measures the
speed of prediction. With `--recomputed N` only the first N runs recompute, and their mean stands for the
rest; the output says so. `--vary article` is the article's head at 32×32.

`--vary heads` also measures the usual way, Keras' `fit` of the whole model with its frozen backbone, which
computes the features in every epoch: the second of two epochs stands for all of them.
"""

import logging
import os
import statistics
import tempfile
import time

from reporting import add_data_options, load, machine, parser, spread, table, warm_up, weights, write_json

GOAL = 8


def variations(options, tz):
    """Return what each run is told, besides what all have in common."""
    count = options.runs
    if options.vary == "heads":
        widths = (
            [2 ** (5 + number) for number in range(count)] if count <= 7 else range(64, 64 * count + 1, 64)
        )
        return [
            {"head": tz.Head(tz.heads.Pool("avg"), tz.heads.Dense(width), tz.heads.Classifier()), "seed": 0}
            for width in widths
        ]
    if options.vary == "article":
        return [
            {"head": "article_mobilenet", "seed": number, "image_size": "input"} for number in range(count)
        ]
    return [{"seed": number} for number in range(count)]


def measure(options, data, tz):
    """Return, for each way, a list of runs: seconds of training and of the whole call, and accuracy."""
    recipe = options.recipe or ("linear_probe" if options.vary == "seeds" else "head")
    found = {"cached": [], "recomputed": []}
    for number, told in enumerate(variations(options, tz)):
        if options.weights == "none":
            # random weights follow the seed: with another seed they are another network
            told = {**told, "seed": 0}
        told = {"image_size": options.image_size, **told}
        if options.epochs is not None and recipe != "linear_probe":
            told["epochs"] = options.epochs
        ways = ("cached", "recomputed") if number % 2 == 0 else ("recomputed", "cached")
        for way in ways:
            if way == "recomputed" and number >= (options.recomputed or options.runs):
                continue
            began = time.perf_counter()
            result = tz.fit_and_evaluate(
                options.backbone,
                data,
                recipe=recipe,
                cache=way == "cached",
                weights=weights(options),
                verbose=False,
                **told,
            )
            seconds = time.perf_counter() - began
            training = result.costs["train_seconds"]
            found[way].append({"training": training, "call": seconds, "accuracy": result.accuracy})
            print(f"{way}, run {number + 1}: training {training:.1f} s, call {seconds:.1f} s", flush=True)
    return recipe, found


def usual_way(options, data, tz, epochs):
    """Return the seconds that `fit` of the whole, frozen model takes for one head."""
    import keras

    model = tz.build(
        options.backbone,
        data.num_classes,
        input_shape=data.input_shape,
        weights=weights(options),
        image_size=options.image_size,
        trainable="none",
    )
    model.compile(optimizer=keras.optimizers.AdamW(3e-3), loss="sparse_categorical_crossentropy")
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        model.fit(
            data.x_train,
            data.y_train,
            batch_size=256,
            validation_data=(data.x_validation, data.y_validation),
            verbose=0,
        )
        seconds.append(time.perf_counter() - began)
    print(f"the usual way: {seconds[1]:.1f} s an epoch", flush=True)
    return seconds[1] * epochs


def main():
    """Measure, print, and write where that was asked for."""
    made = parser(__doc__)
    add_data_options(made, train=10_000, validation=1000, test=1000)
    made.add_argument("--backbone", default="mobilenet", help="(default mobilenet)")
    made.add_argument("--vary", default="seeds", choices=("seeds", "heads", "article"))
    made.add_argument("--runs", type=int, default=10, help="heads or seeds (default 10)")
    made.add_argument("--recomputed", type=int, help="runs that recompute (default all)")
    made.add_argument("--recipe", choices=("head", "linear_probe"), help="default: linear_probe for seeds")
    made.add_argument("--epochs", type=int, help="of recipe 'head' (default 30)")
    made.add_argument("--image-size", type=int, default=96, help="(default 96)")
    options = made.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRANSFERZOO_CACHE"] = folder
        import transferzoo as tz

        logging.getLogger("transferzoo").setLevel(logging.WARNING)
        data = load(options)
        warm_up(data)
        recipe, found = measure(options, data, tz)
        epochs = options.epochs or tz.recipe_info("head").phases[-1].epochs
        usual = usual_way(options, data, tz, epochs) if options.vary == "heads" else None
    rows, ratios = [], {}
    for part in ("training", "call"):
        cached = [run[part] for run in found["cached"]]
        recomputed = [run[part] for run in found["recomputed"]]
        total = statistics.mean(recomputed) * options.runs
        ratios[part] = total / sum(cached)
        title = {"training": "training, features included", "call": "whole call"}[part]
        rows.append(
            (
                title,
                f"{sum(cached):,.1f}",
                spread(cached[1:]),
                f"{total:,.1f}",
                spread(recomputed),
                f"{ratios[part]:.1f}",
            )
        )
    size = "as they come" if options.vary == "article" else f"{options.image_size}×{options.image_size}"
    setting = (
        f"{machine()}; {options.runs} {'seeds' if options.vary != 'heads' else 'heads'} "
        f"{'of the article’s head ' if options.vary == 'article' else ''}on a frozen {options.backbone}, "
        f"weights {options.weights}, recipe '{recipe}', images {size}; {len(data.x_train):,} training, "
        f"{len(data.x_validation):,} validation, {len(data.x_test):,} test images of {options.dataset}"
    )
    if len(found["recomputed"]) < options.runs:
        setting += f"; {len(found['recomputed'])} recomputed runs measured, the rest taken to be as long"
    columns = ("seconds of", "cached, all", "cached, each but the first", "recomputed, all")
    print(f"\n{setting}\n\n{table((*columns, 'recomputed, each', 'times faster'), rows)}\n")
    print(f"training: {ratios['training']:.1f} times faster, goal {GOAL} at ten")
    if usual is not None:
        ratios["usual"] = usual * options.runs / sum(run["training"] for run in found["cached"])
        print(
            f"the usual way, features in each of {epochs} epochs: {usual:,.0f} s a head, reckoned from one "
            f"epoch; cached {ratios['usual']:.0f} times faster for all heads"
        )
    write_json(options.json, {"setting": setting, "runs": found, "ratios": ratios})


if __name__ == "__main__":
    main()
