"""What a model costs, and what it still gets right, in each format that it can be exported to.

One model is trained, exported to each format and precision, read back by that format's own runtime, and
tested on the same images. Differences are paired: on the same images, with a 95 % interval.

    python benchmarks/exports.py --backbone mobilenet --train 5000 --test 10000
"""

import tempfile
from pathlib import Path

from reporting import add_data_options, load, machine, parser, table, weights, write_json


def main():
    """Measure, print, and write where that was asked for."""
    made = parser(__doc__)
    add_data_options(made, train=5000, validation=1000, test=10000)
    made.add_argument("--backbone", default="mobilenet", help="(default mobilenet)")
    made.add_argument("--recipe", default="linear_probe", help="(default linear_probe)")
    made.add_argument("--formats", nargs="+", help="(default: all, at every precision)")
    options = made.parse_args()
    import transferzoo as tz
    from transferzoo.exporting.formats import FORMATS

    data = load(options)
    trained = tz.fit_and_evaluate(
        options.backbone, data, recipe=options.recipe, weights=weights(options), verbose=False, lint=False
    )
    rows, figures = [row_of("Keras", "float32", trained, None, "")], []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.formats or FORMATS:
            for precision in FORMATS[name].precisions:
                path = Path(folder) / f"{name}-{precision}{FORMATS[name].suffix}"
                try:
                    export = trained.export(name, path, precision=precision, data=data)
                except tz.errors.ExportError as error:
                    rows.append((name, precision, "refused", *[""] * 5))
                    figures.append({"format": name, "precision": precision, "refused": str(error)})
                    continue
                tested = tz.load_model(path).evaluate(data)
                change = tz.statistics.difference(tested.correct, trained.correct)
                rows.append(row_of(name, precision, tested, change, f"{export.agreement:.1%}"))
                figures.append({**export.to_dict(), "path": path.name, "row": tested.row()})
    columns = ("format", "weights", "MB", "accuracy", "against Keras, points", "same class", "ms", "images/s")
    print(table(columns, rows))
    setting = f"{options.backbone}, {len(data.x_test):,} test images of {data.name}; {machine()}"
    print(f"\n{setting}")
    write_json(options.json, {"setting": setting, "keras": trained.row(), "exports": figures})


def row_of(name, precision, result, change, same):
    """Return one line of the table."""
    shown = (
        ""
        if change is None
        else f"{100 * change.estimate:+.2f} ({100 * change.low:+.2f} to {100 * change.high:+.2f})"
    )
    size = result.costs["file_bytes"] / 1e6
    return (
        name,
        precision,
        f"{size:.3g}",
        f"{result.accuracy:.1%}",
        shown,
        same,
        f"{result.costs['latency_ms']:.1f}",
        f"{result.costs['images_per_second']:.0f}",
    )


if __name__ == "__main__":
    main()
