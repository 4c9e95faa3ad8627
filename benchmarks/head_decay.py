"""Which weight decay does recipe "head" need, for so many training images? Features once, then many heads.

Each head is trained on cached features as the recipe trains it (AdamW, 30 epochs, the best epoch on
validation images), with one weight decay after another, and with the recipe's own, which depends on the
number of steps. Heads are judged on training images of the dataset that were set aside, so the test images
choose nothing. As many seeds as asked for: each draws other training images, weights and orders.

    python benchmarks/head_decay.py
    python benchmarks/head_decay.py --backbones vgg16 --heads linear mlp --sizes 300 2000 --decays 3 10 30

The row `linear_probe` is on the same images, with a penalty that is chosen on validation images.
"""

import statistics
import time
from dataclasses import replace

import numpy as np
from reporting import judged_options, parser, set_aside, table, weights_of, write_json


def features_of(backbone, images, weights):
    """Return pooled features ``(n, 1, 1, channels)`` of images, with ImageNet weights or random ones."""
    import transferzoo as tz
    from transferzoo.features.extract import split_at_features

    model = tz.build(backbone, 10, weights=weights, seed=0)
    found = split_at_features(model)[0].predict(images, batch_size=128, verbose=0)
    return found.reshape(len(found), 1, 1, -1).astype("float32")


def train_head(kind, phase, train, validation, judges, classes, seed):
    """Return the accuracy on the judges of one head, trained as `phase` says."""
    import keras

    import transferzoo as tz
    from transferzoo.models.plan import build_head, seeded
    from transferzoo.training.linear_head import StandardisedHead
    from transferzoo.training.optimizers import make_optimizer

    (x, y), (x_val, y_val), (x_judge, y_judge) = train, validation, judges
    steps = -(-len(x) // min(phase.batch_size, len(x)))
    with seeded(seed):
        head = build_head(tz.head_info(kind), x.shape[1:], classes, "softmax")
        standardised = StandardisedHead(head, x)
        standardised.enter()
        network = standardised.head_model
        network.compile(
            make_optimizer(phase, steps),
            keras.losses.CategoricalCrossentropy(label_smoothing=phase.label_smoothing),
            metrics=["accuracy"],
        )
        best = keras.callbacks.EarlyStopping(
            "val_accuracy", mode="max", patience=10**6, restore_best_weights=True
        )
        one_hot = np.eye(classes, dtype="float32")
        network.fit(
            x,
            one_hot[y],
            batch_size=phase.batch_size,
            epochs=phase.epochs,
            validation_data=(x_val, one_hot[y_val]),
            callbacks=[best],
            verbose=0,
        )
        found = network.predict(x_judge, batch_size=1000, verbose=0).argmax(axis=1)
    return float((found == y_judge).mean())


def probe(train, validation, judges, classes):
    """Return the accuracy on the judges of a linear head whose penalty validation images choose."""
    import keras

    import transferzoo as tz
    from transferzoo.models.plan import build_head
    from transferzoo.training.linear_head import solve_head

    head = build_head(tz.head_info("linear"), train[0].shape[1:], classes, "softmax")
    solve_head(head, train, validation, tz.recipe_info("linear_probe").phases[0].c_values, None)
    # called, not traced, as there are many heads
    found = keras.ops.convert_to_numpy(head(judges[0], training=False)).argmax(axis=1)
    return float((found == judges[1]).mean())


def main():
    """Measure, print, and write where that was asked for."""
    made = parser(__doc__)
    made.add_argument("--backbones", nargs="+", default=["mobilenet", "mobilenet_v2_035", "vgg16"])
    made.add_argument("--heads", nargs="+", default=["linear", "mlp"])
    made.add_argument("--sizes", type=int, nargs="+", default=[100, 500, 2000])
    made.add_argument("--decays", type=float, nargs="+", default=[3, 30])
    options = judged_options(made, seeds=2)
    import keras

    import transferzoo as tz

    own = tz.recipe_info("head").phases[0]
    images, labels_of_all, count, classes, setting = set_aside(options)
    runs = []
    for backbone in options.backbones:
        began = time.perf_counter()
        features = features_of(backbone, images, weights_of(options, backbone))
        print(f"{backbone}: features in {time.perf_counter() - began:.0f} s", flush=True)
        judges = features[:count], labels_of_all[:count]
        features, labels = features[count:], labels_of_all[count:]
        for seed in range(options.seeds):
            drawn = np.random.default_rng(seed).permutation(len(labels))
            for size in options.sizes:
                few, held = drawn[:size], drawn[size : size + size // 4]
                train, validation = (features[few], labels[few]), (features[held], labels[held])
                row = {"backbone": backbone, "size": size, "seed": seed}
                accuracy = probe(train, validation, judges, classes)
                runs.append({**row, "head": "linear", "setting": "linear_probe", "accuracy": accuracy})
                phases = {f"decay {each:g}": replace(own, weight_decay=each) for each in options.decays}
                phases["recipe"] = own.for_images(size)
                for head in options.heads:
                    for name, phase in phases.items():
                        accuracy = train_head(head, phase, train, validation, judges, classes, seed)
                        runs.append({**row, "head": head, "setting": name, "accuracy": accuracy})
                keras.backend.clear_session()
            print(f"{backbone}, seed {seed}: {time.perf_counter() - began:.0f} s", flush=True)
            write_json(options.json, {"setting": setting, "runs": runs})
    rows = []
    names = dict.fromkeys((run["backbone"], run["head"], run["setting"]) for run in runs)
    for backbone, head, name in sorted(names, key=lambda each: (each[0], each[1])):
        cells = []
        for size in options.sizes:
            found = [
                100 * run["accuracy"]
                for run in runs
                if (run["backbone"], run["head"], run["setting"], run["size"]) == (backbone, head, name, size)
            ]
            cells.append(f"{statistics.mean(found):.1f}")
        rows.append((backbone, head, name, *cells))
    columns = ("backbone", "head", "setting", *map(str, options.sizes))
    print(f"\n{setting}\n\n{table(columns, rows)}")


if __name__ == "__main__":
    main()
