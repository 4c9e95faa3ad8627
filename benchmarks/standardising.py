"""What a floor for the deviations of features is worth to a linear probe, by the number of training images.

Features are standardised before a head is solved. With few images some channels hardly move; divided by
their own deviation they decide on other images. Each column lifts the smallest deviations to a floor: none,
a tenth of the largest, or the median, which is what the library does. All columns of a row share images and
seeds.

    python benchmarks/standardising.py --sizes 25 50 100 300 1000 --seeds 6
"""

import statistics

from reporting import add_data_options, load, machine, parser, table, weights, write_json

FLOORS = {
    "none": lambda deviation: 1e-6 * deviation.max(),
    "a tenth of the largest": lambda deviation: 0.1 * deviation.max(),
    "the median": None,
}


def with_floor(floor):
    """Return the library's function of moments, with another floor; None leaves it as it is."""
    import numpy as np

    from transferzoo.training import linear_head as solving

    if floor is None:
        return solving._moments

    def moments(features):
        axes = tuple(range(features.ndim - 1))
        deviation = features.std(axis=axes, dtype="float64")
        return features.mean(axis=axes, dtype="float64"), np.maximum(deviation, floor(deviation))

    return moments


def main():
    """Measure, print, and write where that was asked for."""
    made = parser(__doc__)
    add_data_options(made, train=8000, validation=2000, test=2000)
    made.add_argument("--backbone", default="mobilenet", help="(default mobilenet)")
    made.add_argument("--sizes", type=int, nargs="+", default=[25, 50, 100, 300, 1000])
    made.add_argument("--seeds", type=int, default=6, help="(default 6)")
    options = made.parse_args()
    import keras
    import numpy as np

    import transferzoo as tz
    from transferzoo.data.splits import stratified_indices
    from transferzoo.recipes.phase import STRENGTHS
    from transferzoo.training import linear_head as solving

    data = load(options)
    model = tz.build(
        options.backbone,
        data.num_classes,
        weights=weights(options),
        input_shape=data.input_shape,
        trainable="none",
        seed=0,
    )
    features = {split: np.asarray(tz.extract_features(model, x)) for split, (x, _) in data.splits.items()}
    labels = {split: y for split, (_, y) in data.splits.items()}
    inputs = keras.Input(features["train"].shape[1:])
    head = keras.Model(inputs, keras.layers.Dense(data.num_classes)(inputs))
    functions = {name: with_floor(floor) for name, floor in FLOORS.items()}
    own = solving._moments
    found = {size: {name: [] for name in FLOORS} for size in options.sizes}
    for size in options.sizes:
        for seed in range(options.seed, options.seed + options.seeds):
            few = stratified_indices(labels["train"], max(size, data.num_classes), seed)
            held = min(max(data.num_classes, size // 4), len(labels["validation"]) - data.num_classes)
            held_out = stratified_indices(labels["validation"], held, seed)
            for name, moments in functions.items():
                solving._moments = moments
                try:
                    solving.solve_head(
                        head,
                        (features["train"][few], labels["train"][few]),
                        (features["validation"][held_out], labels["validation"][held_out]),
                        STRENGTHS,
                    )
                finally:
                    solving._moments = own
                right = head.predict(features["test"], verbose=0).argmax(axis=1) == labels["test"]
                found[size][name].append(float(right.mean()))
        print(f"{size} images: {found[size]}", flush=True)
    setting = (
        f"{machine()}; {options.backbone}, weights {options.weights}; {options.dataset}, "
        f"{len(labels['test']):,} test images; {options.seeds} seeds"
    )
    rows = [
        (f"{size:,}", *(f"{statistics.mean(each):.1%}" for each in runs.values()))
        for size, runs in found.items()
    ]
    print(f"\n{setting}\n\n{table(('training images', *FLOORS), rows)}")
    write_json(options.json, {"setting": setting, "runs": found})


if __name__ == "__main__":
    main()
