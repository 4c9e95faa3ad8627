"""What each ingredient of recipe "default" gives: the default, and the default with one thing changed.

Every row trains the same backbone on the same images with the same seeds; only what the row names differs.
The difference to the default is over the seeds of this run, paired; one seed says little about less than
two points.

    python benchmarks/ingredients.py --train 10000 --epochs 3
    python benchmarks/ingredients.py --only default mixup_0.2 --seeds 3
"""

import dataclasses
import statistics

from reporting import add_data_options, load, machine, parser, spread, table, warm_up, weights, write_json

VARIANTS = {
    "default": {},
    "no_augmentation": {"augmentation": "none"},
    "strong_augmentation": {"augmentation": "strong"},
    "no_label_smoothing": {"label_smoothing": 0.0},
    "stored_statistics_1e-4": {"batch_norm": "inference", "learning_rate": 1e-4},
    "stored_statistics_5e-4": {"batch_norm": "inference", "learning_rate": 5e-4},
    "layer_decay_0.9": {"layer_decay": 0.9},
    "mixup_0.2": {"mixup": 0.2},
    "all_layers": {"trainable": "all"},
    "size_64": {"image_size": 64},
    "size_128": {"image_size": 128},
    "head_not_placed": {"recipe": "without the probe"},
}


def recipe_for(told):
    """Return the default recipe, without the phases that train the head alone where the row says so."""
    import transferzoo as tz

    recipe = tz.recipe_info("default")
    if "recipe" not in told:
        return recipe
    phases = tuple(phase for phase in recipe.phases if phase.trainable != "none")
    return dataclasses.replace(recipe, phases=phases)


def run(told, data, options, seed):
    """Return accuracy and seconds of one run."""
    import transferzoo as tz

    result = tz.fit_and_evaluate(
        options.backbone,
        data,
        recipe=recipe_for(told),
        epochs=options.epochs,
        weights=weights(options),
        seed=seed,
        # the probe's features would be free for all rows but the first
        cache=False,
        verbose=False,
        **{name: value for name, value in told.items() if name != "recipe"},
    )
    return {"accuracy": result.accuracy, "seconds": result.costs["train_seconds"]}


def main():
    """Measure, print, and write where that was asked for."""
    made = parser(__doc__)
    add_data_options(made, train=10_000, validation=1000, test=2000)
    made.add_argument("--backbone", default="mobilenet", help="(default mobilenet)")
    made.add_argument("--epochs", type=int, default=3, help="of the main phase (default 3)")
    made.add_argument("--seeds", type=int, default=1, help="runs of each row (default 1)")
    made.add_argument("--only", nargs="+", choices=VARIANTS, metavar="NAME", help=", ".join(VARIANTS))
    options = made.parse_args()
    import keras

    data = load(options)
    warm_up(data)
    names = list(dict.fromkeys(["default", *(options.only or VARIANTS)]))
    found = {name: [] for name in names}
    # a seed after the other, so that an end before time leaves whole tables
    for seed in range(options.seed, options.seed + options.seeds):
        for name in names:
            found[name].append(run(VARIANTS[name], data, options, seed))
            last = found[name][-1]
            print(f"seed {seed}, {name}: {last['accuracy']:.1%}, {last['seconds']:.0f} s", flush=True)
            keras.backend.clear_session()
            write_json(options.json, {"runs": found})
    setting = (
        f"{machine()}; {options.backbone}, weights {options.weights}, {options.epochs} epochs; "
        f"{len(data.x_train):,} training, {len(data.x_validation):,} validation and {len(data.x_test):,} "
        f"test images of {options.dataset}; {options.seeds} seed{'s' if options.seeds > 1 else ''}"
    )
    rows = []
    for name in names:
        pairs = list(zip(found[name], found["default"], strict=True))
        gains = [100 * (mine["accuracy"] - base["accuracy"]) for mine, base in pairs]
        times = [mine["seconds"] / base["seconds"] for mine, base in pairs]
        low_high = f" ({min(gains):+.1f} to {max(gains):+.1f})" if len(gains) > 1 else ""
        changes = ", ".join(f"`{key}={value!r}`" for key, value in VARIANTS[name].items())
        rows.append(
            (
                name,
                "`recipe` without the phase that places the head" if name == "head_not_placed" else changes,
                f"{statistics.mean(mine['accuracy'] for mine, _ in pairs):.1%}",
                f"{statistics.mean(gains):+.1f}{low_high}" if name != "default" else "",
                spread([mine["seconds"] for mine, _ in pairs], 0),
                spread(times),
            )
        )
    columns = ("row", "changed", "test accuracy", "points to the default", "seconds", "times the default's")
    print(f"\n{setting}\n\n{table(columns, rows)}")
    write_json(options.json, {"setting": setting, "runs": found})


if __name__ == "__main__":
    main()
