"""How often 95 % intervals hold the truth: simulated studies, and samples of real predictions.

A simulated study draws test images of unlike difficulty and runs of two models, whose seeds differ in skill:
an image is classified rightly where ``ease + skill + seed's skill + noise > 0``, all of them normal, so that
the true accuracies are known exactly. Each line is so many studies. "images alone" takes the mean run of each
model for the only one, and "seeds alone" compares the runs' accuracies (Welch): what is often done, and why
it is not enough.

With `--study` the population is a saved study of several models and seeds: its images are drawn with
replacement, and of each model's runs a few without. The truth is the difference over all of them.

    python benchmarks/coverage.py
    python benchmarks/coverage.py --study runs/study --draws 2000
"""

import itertools
import math

import numpy as np
from reporting import machine, parser, table, write_json

# of an image's ease, of one run on one image, and their mean: accuracies near 85 %
EASE, NOISE, MEAN = 1.5, 0.7, 1.7
AHEAD = 0.1
Z = 1.959964


def spread_in_skill(points):
    """Return the deviation of seeds' skill that moves the accuracy by so many points."""
    from scipy.stats import norm

    whole = math.hypot(EASE, NOISE)
    slope = norm.pdf(MEAN / whole) / whole
    return points / 100 / slope


def accuracy(mean, skill):
    """Return the accuracy of a model over all images and seeds."""
    from scipy.stats import norm

    return norm.cdf(mean / math.sqrt(EASE**2 + NOISE**2 + skill**2))


def simulated(rng, seeds, images, skill):
    """Return the runs of two models on the same images, bool arrays (seeds, images)."""
    ease = rng.normal(MEAN, EASE, images)
    return [
        ease + ahead + rng.normal(0, skill, (seeds, 1)) + rng.normal(0, NOISE, (seeds, images)) > 0
        for ahead in (AHEAD, 0.0)
    ]


def holds(interval, truth):
    """Tell whether an interval holds the truth."""
    return interval[0] <= truth <= interval[1]


def images_alone(a, b):
    """Return the interval of a paired difference that forgets that there are other seeds."""
    change = a.mean(axis=0) - b.mean(axis=0)
    half = Z * change.std(ddof=1) / math.sqrt(change.size)
    return change.mean() - half, change.mean() + half


def seeds_alone(a, b):
    """Return Welch's interval over the runs' accuracies, which forgets that there are other images."""
    from scipy.stats import t

    runs = [each.mean(axis=1) for each in (a, b)]
    parts = [run.var(ddof=1) / run.size for run in runs]
    variance = sum(parts)
    estimate = runs[0].mean() - runs[1].mean()
    if variance == 0:
        return estimate, estimate
    degrees = variance**2 / sum(part**2 / (run.size - 1) for part, run in zip(parts, runs, strict=True))
    half = t.ppf(0.975, degrees) * math.sqrt(variance)
    return estimate - half, estimate + half


def cell(rng, seeds, images, points, studies):
    """Return the shares of studies whose intervals held the truth."""
    from transferzoo.statistics import accuracy_interval, difference

    skill = spread_in_skill(points)
    of_accuracy = accuracy(MEAN, skill)
    of_difference = accuracy(MEAN + AHEAD, skill) - of_accuracy
    held = np.zeros(4)
    for _ in range(studies):
        a, b = simulated(rng, seeds, images, skill)
        own, both = accuracy_interval(b), difference(a, b)
        held += [
            holds((own.low, own.high), of_accuracy),
            holds((both.low, both.high), of_difference),
            holds(images_alone(a, b), of_difference),
            holds(seeds_alone(a, b), of_difference),
        ]
    return held / studies


def single_cell(rng, images, studies):
    """Return the share of one-run studies whose intervals held the truth, for these two trained models."""
    from transferzoo.statistics import accuracy_interval, difference

    truths = accuracy(MEAN + AHEAD, 0.0) - accuracy(MEAN, 0.0), accuracy(MEAN, 0.0)
    held = np.zeros(2)
    for _ in range(studies):
        (a,), (b,) = simulated(rng, 1, images, 0.0)
        both, own = difference(a, b), accuracy_interval(b)
        held += [holds((both.low, both.high), truths[0]), holds((own.low, own.high), truths[1])]
    return held / studies


def real_cell(rng, tables, seeds, images, draws):
    """Return the share of samples of real predictions whose interval held the difference over all of them."""
    from transferzoo.statistics import difference

    a, b = tables
    truth = a.mean() - b.mean()
    held = np.zeros(3)
    for _ in range(draws):
        chosen = rng.integers(0, a.shape[1], images)
        drawn = [each[rng.choice(len(each), seeds, replace=False)][:, chosen] for each in (a, b)]
        found = difference(*drawn)
        held += [
            holds((found.low, found.high), truth),
            holds(images_alone(*drawn), truth),
            holds(seeds_alone(*drawn), truth),
        ]
    return held / draws


def real(options, rng):
    """Print the table of a saved study's predictions."""
    import transferzoo as tz

    study = tz.Study.load(options.study)
    tables = {
        name: np.stack([run.correct for run in study.results if run.name == name])
        for name in dict.fromkeys(run.name for run in study.results)
    }
    rows = []
    for name_a, name_b in itertools.combinations(tables, 2):
        pair = tables[name_a], tables[name_b]
        fewest = min(map(len, pair))
        for seeds in (2, 3, 5):
            for images in (400, 2000):
                if seeds <= fewest // 2 and images <= pair[0].shape[1]:
                    shares = real_cell(rng, pair, seeds, images, options.draws)
                    rows.append(
                        (f"{name_a}, {name_b}", seeds, f"{images:,}", *(f"{each:.1%}" for each in shares))
                    )
    sizes = (
        f"{pair[0].shape[1]:,} test images, {', '.join(f'{len(v)} runs of {k}' for k, v in tables.items())}"
    )
    setting = f"{machine()}; {sizes}; {options.draws:,} draws a line"
    print(f"{setting}\n")
    print(table(("models", "seeds", "images", "difference", "images alone", "seeds alone"), rows))
    return {"setting": setting, "rows": rows}


def main():
    """Simulate, print, and write where that was asked for."""
    made = parser(__doc__)
    made.add_argument("--studies", type=int, default=2000, help="simulated for each line (default 2000)")
    made.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 5], help="(default 2 3 5)")
    made.add_argument(
        "--images", type=int, nargs="+", default=[400, 2000, 10_000], help="(default 400 2000 10000)"
    )
    made.add_argument(
        "--spread",
        type=float,
        nargs="+",
        default=[0.0, 0.3, 1.0],
        help="of seeds, in points (default 0 0.3 1)",
    )
    made.add_argument("--study", help="a saved study of several seeds to draw from, in place of simulating")
    made.add_argument("--draws", type=int, default=2000, help="from the saved study (default 2000)")
    made.add_argument("--seed", type=int, default=0, help="of the draws (default 0)")
    options = made.parse_args()
    rng = np.random.default_rng(options.seed)
    if options.study:
        write_json(options.json, real(options, rng))
        return
    setting = f"{machine()}; {options.studies:,} studies a line"
    print(f"{setting}\n", flush=True)
    rows = []
    for images in options.images:
        both, own = single_cell(rng, images, options.studies)
        rows.append(("1", f"{images:,}", "–", f"{own:.1%}", f"{both:.1%}", "", ""))
    for seeds, images, points in itertools.product(options.seeds, options.images, options.spread):
        shares = cell(rng, seeds, images, points, options.studies)
        rows.append((seeds, f"{images:,}", f"{points:g} points", *(f"{each:.1%}" for each in shares)))
    columns = ("seeds", "images", "seeds' spread", "accuracy", "difference", "images alone", "seeds alone")
    print(table(columns, rows))
    write_json(options.json, {"setting": setting, "columns": columns, "rows": rows})


if __name__ == "__main__":
    main()
