"""What image size is worth: test accuracy and prediction speed of a linear probe at each size.

A logistic regression on the pooled features of a frozen backbone with its published weights, which were
learned at 224×224; the images are enlarged inside the model. One row a size and backbone.

    python benchmarks/resolution.py --plot docs/images/resolution.png --json resolution.json
"""

from pathlib import Path

from reporting import add_data_options, load, machine, parser, table, warm_up, weights, write_json

SIZES = (32, 48, 64, 96, 128, 160, 224)


def probe(backbone, size, data, options):
    """Return one row's figures."""
    import transferzoo as tz

    result = tz.fit_and_evaluate(
        backbone,
        data,
        recipe="linear_probe",
        image_size=size,
        weights=weights(options),
        seed=options.seed,
        cache=False,
        verbose=False,
    )
    costs = result.costs
    return {
        "backbone": backbone,
        "image_size": size,
        "map": result.model.get_layer("backbone").output_shape[1],
        "accuracy": result.accuracy,
        "images_per_second": costs["images_per_second"],
        "images_per_second_min": costs["images_per_second_min"],
        "images_per_second_max": costs["images_per_second_max"],
        # what is not the solving of the head is the features of training and validation images
        "feature_seconds": costs["train_seconds"] - sum(result.history["seconds"]),
    }


def draw(rows, path):
    """Draw accuracy and speed against image size, a line a backbone."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

    from transferzoo.plots import BLUE, GREY, VERMILLION

    looks = [(BLUE, "o", "-"), (VERMILLION, "s", "--"), (GREY, "^", ":")]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    sizes = sorted({row["image_size"] for row in rows})
    for number, backbone in enumerate(dict.fromkeys(row["backbone"] for row in rows)):
        mine = [row for row in rows if row["backbone"] == backbone]
        colour, marker, line = looks[number % len(looks)]
        look = {"color": colour, "marker": marker, "linestyle": line, "markersize": 5, "label": backbone}
        x = [row["image_size"] for row in mine]
        left.plot(x, [row["accuracy"] for row in mine], **look)
        right.plot(x, [row["images_per_second"] for row in mine], **look)
        right.fill_between(
            x,
            [row["images_per_second_min"] for row in mine],
            [row["images_per_second_max"] for row in mine],
            color=colour,
            alpha=0.15,
            linewidth=0,
        )
    left.set_ylabel("Test accuracy")
    left.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    right.set_ylabel("Predicted images per second")
    right.set_yscale("log")
    right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.yaxis.set_minor_locator(NullLocator())
    right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    for panel in (left, right):
        # equal steps of size are equal factors of work
        panel.set_xscale("log")
        panel.set_xticks(sizes, [str(size) for size in sizes])
        panel.xaxis.set_minor_locator(NullLocator())
        panel.set_xlabel("Image size, pixels along a side")
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", alpha=0.3)
    left.legend(loc="lower right", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main():
    """Measure, print, draw and write where that was asked for."""
    made = parser(__doc__)
    add_data_options(made, train=5000, validation=1000, test=2000)
    made.add_argument(
        "--backbones",
        nargs="+",
        default=["mobilenet", "mobilenet_v2_035"],
        metavar="NAME",
        help="(default mobilenet mobilenet_v2_035)",
    )
    made.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=SIZES,
        metavar="PIXELS",
        help=f"(default {' '.join(map(str, SIZES))})",
    )
    made.add_argument("--plot", type=Path, metavar="FILE", help="also draw to this PNG file")
    options = made.parse_args()
    import keras

    data = load(options)
    warm_up(data)
    rows = []
    for backbone in options.backbones:
        for size in options.sizes:
            rows.append(probe(backbone, size, data, options))
            print(f"{backbone}, {size}: {rows[-1]['accuracy']:.1%}", flush=True)
            keras.backend.clear_session()
    setting = (
        f"{machine()}; {len(data.x_train):,} training, {len(data.x_validation):,} validation and "
        f"{len(data.x_test):,} test images of {options.dataset}, weights {options.weights}, "
        f"seed {options.seed}; prediction in batches of 32"
    )
    fastest = {
        row["backbone"]: row["images_per_second"]
        for row in rows
        if row["image_size"] == rows[0]["image_size"]
    }
    columns = (
        "backbone",
        "image size",
        "last map",
        "test accuracy",
        "predicted images/s",
        "lowest to highest",
    )
    columns += (f"share of {rows[0]['image_size']}'s speed", "seconds for the features")
    lines = [
        (
            f"`{row['backbone']}`",
            row["image_size"],
            f"{row['map']}×{row['map']}",
            f"{row['accuracy']:.1%}",
            f"{row['images_per_second']:,.0f}",
            f"{row['images_per_second_min']:,.0f} to {row['images_per_second_max']:,.0f}",
            f"{row['images_per_second'] / fastest[row['backbone']]:.2f}",
            f"{row['feature_seconds']:,.1f}",
        )
        for row in rows
    ]
    print(f"\n{setting}\n\n{table(columns, lines)}")
    if options.plot:
        draw(rows, options.plot)
    write_json(options.json, {"setting": setting, "rows": rows})


if __name__ == "__main__":
    main()
