"""What class weights and balanced sampling are worth, where some classes have few training images.

Three of the dataset's classes keep a share of their training images; validation and test images stay as they
are, in equal numbers of each class. Accuracy over all classes and over the rare ones, means over the seeds,
each with the lowest and highest.

    python benchmarks/imbalance.py --recipes linear_probe default --seeds 3
"""

import dataclasses
import statistics

import numpy as np
from reporting import add_data_options, load, machine, parser, table, warm_up, weights, write_json

WAYS = {
    "nothing": {},
    'class_weight="balanced"': {"class_weight": "balanced"},
    'sampling="balanced"': {"sampling": "balanced"},
}


def with_rare_classes(data, share, seed):
    """Return the dataset with fewer training images of three classes, and these classes."""
    rng = np.random.default_rng(seed)
    rare = rng.choice(data.num_classes, 3, replace=False)
    kept = np.arange(len(data.y_train))
    for label in rare:
        members = np.flatnonzero(data.y_train == label)
        dropped = rng.permutation(members)[max(1, round(share * len(members))) :]
        kept = np.setdiff1d(kept, dropped)
    return dataclasses.replace(data, x_train=data.x_train[kept], y_train=data.y_train[kept]), rare


def run(data, rare, recipe, told, options, seed):
    """Return the accuracy of one run, over all classes and over the rare ones."""
    import transferzoo as tz

    more = {"epochs": options.epochs} if options.epochs and recipe != "linear_probe" else {}
    result = tz.fit_and_evaluate(
        options.backbone,
        data,
        recipe=recipe,
        weights=weights(options),
        seed=seed,
        verbose=False,
        lint=False,
        **told,
        **more,
    )
    of_rare = np.isin(result.y_true, rare)
    return {
        "accuracy": result.accuracy,
        "rare": float(result.correct[of_rare].mean()),
        "others": float(result.correct[~of_rare].mean()),
    }


def cell(values):
    """Return a mean in per cent, with the lowest and highest where there are several."""
    mean = f"{100 * statistics.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ({100 * min(values):.1f} to {100 * max(values):.1f})"


def main():
    """Measure, print, and write where that was asked for."""
    made = parser(__doc__)
    add_data_options(made, train=2000, validation=500, test=2000)
    made.add_argument("--backbone", default="mobilenet", help="(default mobilenet)")
    made.add_argument("--recipes", nargs="+", default=["linear_probe"], help="(default linear_probe)")
    made.add_argument("--epochs", type=int, help="of recipes that have some")
    made.add_argument("--share", type=float, default=0.05, help="that rare classes keep (default 0.05)")
    made.add_argument("--seeds", type=int, default=3, help="(default 3)")
    options = made.parse_args()
    import keras

    data = load(options)
    warm_up(data)
    runs = []
    for seed in range(options.seed, options.seed + options.seeds):
        part, rare = with_rare_classes(data, options.share, seed)
        for recipe in options.recipes:
            for way, told in WAYS.items():
                runs.append({"seed": seed, "recipe": recipe, "way": way})
                runs[-1] |= run(part, rare, recipe, told, options, seed)
                keras.backend.clear_session()
                print(runs[-1], flush=True)
    setting = (
        f"{machine()}; {options.backbone}, weights {options.weights}; {len(data.x_train):,} training images "
        f"of {options.dataset}, of which three classes keep {options.share:.0%}; {len(data.x_test):,} test "
        f"images; {options.seeds} seeds"
    )
    rows = []
    for recipe in options.recipes:
        for way in WAYS:
            mine = [each for each in runs if (each["recipe"], each["way"]) == (recipe, way)]
            rows.append(
                (
                    f"`{recipe}`",
                    f"`{way}`" if WAYS[way] else way,
                    *(cell([each[key] for each in mine]) for key in ("accuracy", "rare", "others")),
                )
            )
    columns = ("recipe", "option", "accuracy, %", "of rare classes, %", "of the others, %")
    print(f"\n{setting}\n\n{table(columns, rows)}")
    write_json(options.json, {"setting": setting, "runs": runs})


if __name__ == "__main__":
    main()
