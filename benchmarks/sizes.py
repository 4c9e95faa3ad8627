"""Recipe "default" against "linear_probe" at several numbers of training images, paired.

For each size and seed both recipes get the same training and validation images, drawn anew for each seed, and
the same test images. The table shows the mean difference with its 95 % interval over the seeds (Student's t),
and how often a fine-tuned model was returned.

    python benchmarks/sizes.py --sizes 25 50 100 300 1000 --seeds 5
    python benchmarks/sizes.py --sizes 1000 --rows default default+batch_norm=inference default:8
    python benchmarks/sizes.py --sizes 5000 --add earlier.json --out sizes.png
    python benchmarks/sizes.py --dataset ./photos --sizes 25 100 --image-size 224 --out sizes.png

A row is a recipe, then ``:EPOCHS`` where that differs from the recipe's, then ``+OPTION=VALUE`` for each
option of `fit_and_evaluate`.
"""

import json
import statistics
from pathlib import Path

from reporting import add_data_options, load, machine, parser, parts_of, table, warm_up, weights, write_json

# a quarter as many validation images as training images, which is what a fifth held out leaves
VALIDATION = 4

PROBE = "linear_probe"


def draw(data, size, seed):
    """Return a dataset of so many training images, other ones for each seed."""
    validation = min(max(data.num_classes, size // VALIDATION), len(data.x_validation))
    return data.subset(train=max(size, data.num_classes), validation=validation, seed=seed)


def run(row, data, options, seed):
    """Return accuracy, seconds and what was returned of one run."""
    import transferzoo as tz

    recipe, epochs, told = parts_of(row)
    if epochs is not None:
        told["epochs"] = epochs
    result = tz.fit_and_evaluate(
        options.backbone,
        data,
        recipe=recipe,
        weights=weights(options),
        image_size=options.image_size,
        seed=seed,
        cache=False,
        lint=False,
        verbose=False,
        **told,
    )
    return {
        "accuracy": result.accuracy,
        "log_loss": result.metrics["log_loss"],
        "seconds": result.costs["train_seconds"],
        "returned": result.provenance["returned"],
    }


def interval(differences):
    """Return the mean and its 95 % interval over seeds; without one for a single seed."""
    from scipy import stats

    mean = statistics.mean(differences)
    if len(differences) < 2:
        return mean, float("nan"), float("nan")
    half = stats.t.ppf(0.975, len(differences) - 1) * statistics.stdev(differences) / len(differences) ** 0.5
    return mean, mean - half, mean + half


def plot(found, path, title):
    """Draw the rows' accuracies against the number of training images."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 3.8), layout="constrained")
    ax = figure.subplots()
    sizes = sorted(found)
    rows = dict.fromkeys(row for runs in found.values() for row in runs)
    for index, row in enumerate(rows):
        colour = "#777777" if row == PROBE else f"C{index - 1}"
        shown = [size for size in sizes if found[size].get(row)]
        points = [[100 * each["accuracy"] for each in found[size][row]] for size in shown]
        ax.plot(
            shown,
            [statistics.mean(each) for each in points],
            marker="s" if row == PROBE else "o",
            color=colour,
            label=row,
        )
        for size, each in zip(shown, points, strict=True):
            ax.scatter([size] * len(each), each, color=colour, s=8, alpha=0.5)
    ax.set_xscale("log")
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ax.minorticks_off()
    ax.set_xlabel("Training images")
    ax.set_ylabel("Test accuracy, %")
    ax.set_title(title, loc="left", fontsize=9)
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main():
    """Measure, print, draw, and write where that was asked for."""
    made = parser(__doc__)
    add_data_options(made, train=40_000, validation=10_000, test=2000)
    made.add_argument("--backbone", default="mobilenet", help="(default mobilenet)")
    made.add_argument("--sizes", type=int, nargs="+", default=[25, 50, 100, 300, 1000, 5000])
    made.add_argument(
        "--rows",
        nargs="+",
        default=["default"],
        metavar="ROW",
        help="runs beside the probe (default default)",
    )
    made.add_argument("--seeds", type=int, default=5, help="(default 5)")
    made.add_argument("--image-size", type=int, default=None, help="(default the backbone's)")
    made.add_argument(
        "--add", type=Path, default=None, metavar="FILE", help="show the sizes of an earlier --json file too"
    )
    made.add_argument("--out", type=Path, default=None, help="picture to draw")
    options = made.parse_args()
    import keras

    data = load(options)
    warm_up(data)
    found = {size: {row: [] for row in (PROBE, *options.rows)} for size in options.sizes}
    setting = (
        f"{machine()}; {options.backbone}, weights {options.weights}; {options.dataset}, "
        f"{len(data.x_test):,} test images; {options.seeds} seeds"
    )
    for size in options.sizes:
        for seed in range(options.seed, options.seed + options.seeds):
            part = draw(data, size, seed)
            for row, runs in found[size].items():
                each = run(row, part, options, seed)
                runs.append(each)
                print(
                    f"{size} images, seed {seed}, {row}: {each['accuracy']:.1%}, {each['seconds']:.0f} s, "
                    f"returned {each['returned']}",
                    flush=True,
                )
                keras.backend.clear_session()
            write_json(options.json, {"setting": setting, "runs": found})
    if options.add is not None:
        earlier = json.loads(options.add.read_text(encoding="utf-8"))["runs"]
        found |= {int(size): runs for size, runs in earlier.items() if int(size) not in found}
    rows = []
    for size, runs in sorted(found.items()):
        for row in runs:
            if row == PROBE:
                continue
            pairs = list(zip(runs[row], runs[PROBE], strict=True))
            mean, low, high = interval(
                [100 * (mine["accuracy"] - probe["accuracy"]) for mine, probe in pairs]
            )
            kept = sum("fine_tune" in mine["returned"] or "scratch" in mine["returned"] for mine, _ in pairs)
            rows.append(
                (
                    f"{size:,}",
                    f"`{row}`",
                    f"{statistics.mean(probe['accuracy'] for _, probe in pairs):.1%}",
                    f"{statistics.mean(mine['accuracy'] for mine, _ in pairs):.1%}",
                    f"{mean:+.1f} ({low:+.1f} to {high:+.1f})",
                    f"{kept} of {len(pairs)}",
                    f"{statistics.mean(probe['seconds'] for _, probe in pairs):.0f}",
                    f"{statistics.mean(mine['seconds'] for mine, _ in pairs):.0f}",
                )
            )
    columns = (
        *("training images", "row", "linear_probe", "accuracy", "points ahead (95 % interval)"),
        *("fine-tuned model returned", "probe, s", "seconds"),
    )
    print(f"\n{setting}\n\n{table(columns, rows)}")
    write_json(options.json, {"setting": setting, "runs": found})
    if options.out is not None:
        title = f"{options.backbone} on {Path(options.dataset).name}; {options.seeds} seeds, a dot each"
        plot(found, options.out, title)
        print(f"The picture is in {options.out}")


if __name__ == "__main__":
    main()
