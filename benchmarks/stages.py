"""What features of several stages are worth to a linear probe on a frozen network.

The means of a backbone's last stages are computed once; the last N of them are what `stages=N` gives. Heads
are solved as recipe "linear_probe" solves them, with a penalty that validation images choose, and judged on
training images of the dataset that were set aside, so the test images choose nothing. Each seed draws other
training images.

    python benchmarks/stages.py
    python benchmarks/stages.py --backbones vgg16 --sizes 300 --stages 3 --seeds 5
"""

import time

import numpy as np
from reporting import machine, parser, table, write_json
from sizes import interval


def stage_means(backbone, images, weights, stages):
    """Return the means of the last stages, the last stage's last, and the channels of each."""
    import transferzoo as tz
    from transferzoo.features.extract import split_at_features

    model = tz.build(backbone, 10, weights=weights, stages=stages, seed=0)
    channels = [tensor.shape[-1] for tensor in model.get_layer("backbone").get_layer("stages").input]
    return split_at_features(model)[0].predict(images, batch_size=128, verbose=0), channels


def probe(train, validation, judges, classes):
    """Return the accuracy on the judges of a linear head, solved as the recipe solves it."""
    import transferzoo as tz
    from transferzoo.models.plan import build_head
    from transferzoo.training.linear_head import solve_head

    head = build_head(tz.head_info("linear"), train[0].shape[1:], classes, "softmax")
    solve_head(head, train, validation, tz.recipe_info("linear_probe").phases[0].c_values, None)
    kernel, bias = head.get_weights()
    return float(((judges[0] @ kernel + bias).argmax(axis=1) == judges[1]).mean())


def with_interval(gains):
    """Return a mean gain in points, with its 95 % interval where there are several seeds."""
    mean, low, high = interval(gains)
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})" if len(gains) > 1 else f"{mean:+.1f}"


def main():
    """Measure, print, and write where that was asked for."""
    made = parser(__doc__)
    made.add_argument("--backbones", nargs="+", default=["mobilenet", "mobilenet_v2_035", "vgg16"])
    made.add_argument("--stages", type=int, default=4, help="the last 1 to so many (default 4)")
    made.add_argument("--sizes", type=int, nargs="+", default=[100, 500, 2000, 8000])
    made.add_argument("--judges", type=int, default=2_000, help="images set aside (default 2000)")
    made.add_argument("--seeds", type=int, default=3, help="(default 3)")
    made.add_argument("--dataset", default="cifar10", help="(default cifar10)")
    made.add_argument("--weights", default="imagenet", choices=("imagenet", "cifar10", "none"))
    made.add_argument(
        "--file", action="append", default=[], metavar="BACKBONE=PATH", help="a backbone's weights file"
    )
    options = made.parse_args()
    import transferzoo as tz

    data = tz.load_dataset(options.dataset, validation=0.1, seed=0)
    most = max(options.sizes)
    order = np.random.default_rng(0).permutation(len(data.x_train))
    judges_at = order[: min(options.judges, len(order) // 4)]
    pool = order[len(judges_at) :][: most * 5 // 4 + 1]
    setting = (
        f"{machine()}; weights {options.weights}; {options.dataset}, {len(judges_at):,} images to judge by; "
        f"{options.seeds} seed{'s' if options.seeds > 1 else ''}"
    )
    runs, rows = [], []
    for backbone in options.backbones:
        began = time.perf_counter()
        chosen = np.concatenate([judges_at, pool])
        weights = dict(each.split("=", 1) for each in options.file).get(backbone, options.weights)
        weights = None if weights == "none" else weights
        features, channels = stage_means(backbone, data.x_train[chosen], weights, options.stages)
        labels = data.y_train[chosen]
        print(f"{backbone}: features in {time.perf_counter() - began:.0f} s", flush=True)
        for stages in range(1, options.stages + 1):
            kept = features[:, -sum(channels[-stages:]) :]
            judges = kept[: len(judges_at)], labels[: len(judges_at)]
            cells = []
            for size in options.sizes:
                accuracies = []
                for seed in range(options.seeds):
                    drawn = len(judges_at) + np.random.default_rng(seed).permutation(len(pool))
                    few, held = drawn[:size], drawn[size : size + size // 4]
                    accuracies.append(
                        probe((kept[few], labels[few]), (kept[held], labels[held]), judges, data.num_classes)
                    )
                runs.append({"backbone": backbone, "stages": stages, "size": size, "accuracies": accuracies})
                of_one = next(
                    run["accuracies"]
                    for run in runs
                    if (run["backbone"], run["size"], run["stages"]) == (backbone, size, 1)
                )
                gains = [100 * (more - one) for more, one in zip(accuracies, of_one, strict=True)]
                gain = "" if stages == 1 else f", {with_interval(gains)}"
                cells.append(f"{np.mean(accuracies):.1%}{gain}")
            rows.append((backbone, stages, kept.shape[1], *cells))
            print(f"{backbone}, {stages}: {' | '.join(cells)}", flush=True)
            write_json(options.json, {"setting": setting, "runs": runs})
    columns = ("backbone", "stages", "features", *(f"{size:,} images" for size in options.sizes))
    print(f"\n{setting}\n\n{table(columns, rows)}")


if __name__ == "__main__":
    main()
