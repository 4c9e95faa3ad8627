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
from head_decay import probe
from reporting import judged_options, parser, set_aside, table, weights_of, write_json
from sizes import interval


def stage_means(backbone, images, weights, stages):
    """Return the means of the last stages, the last stage's last, and the channels of each."""
    import transferzoo as tz
    from transferzoo.features.extract import split_at_features

    model = tz.build(backbone, 10, weights=weights, stages=stages, seed=0)
    channels = [tensor.shape[-1] for tensor in model.get_layer("backbone").get_layer("stages").input]
    return split_at_features(model)[0].predict(images, batch_size=128, verbose=0), channels


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
    options = judged_options(made, seeds=3)
    images, labels, count, classes, setting = set_aside(options)
    runs, rows = [], []
    for backbone in options.backbones:
        began = time.perf_counter()
        features, channels = stage_means(backbone, images, weights_of(options, backbone), options.stages)
        print(f"{backbone}: features in {time.perf_counter() - began:.0f} s", flush=True)
        for stages in range(1, options.stages + 1):
            kept = features[:, -sum(channels[-stages:]) :]
            judges = kept[:count], labels[:count]
            cells = []
            for size in options.sizes:
                accuracies = []
                for seed in range(options.seeds):
                    drawn = count + np.random.default_rng(seed).permutation(len(labels) - count)
                    few, held = drawn[:size], drawn[size : size + size // 4]
                    accuracies.append(
                        probe((kept[few], labels[few]), (kept[held], labels[held]), judges, classes)
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
