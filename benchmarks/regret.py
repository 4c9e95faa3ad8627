"""What each way of choosing a backbone loses against training all of them in full.

Every model is fine-tuned by the recipe; its accuracy on the test images is what it is worth. Each way of
choosing then names one: published ImageNet accuracy and multiply-adds, which know nothing of the images; the
scores of `tz.rank`; successive halving. The regret is how many points its choice lies behind the best model.
"Best of the probe's three" trains three models in full and takes the best.

    python benchmarks/regret.py --dataset cifar10 --train 2000
    python benchmarks/regret.py --dataset digits --train 400 --models resnet20 mobilenet_025 mobilenet
"""

import statistics

from frontier import model_of
from reporting import add_data_options, load, machine, parser, table, warm_up, write_json


def models_of(options):
    """Return each model's own options; a number behind a colon is its image size."""
    models = {}
    for text in options.models:
        name, _, size = text.partition(":")
        models[text.replace(":", "-")] = {
            **model_of(name, options),
            **({"image_size": int(size)} if size else {}),
        }
    return models


def choices(ranking, halving):
    """Return what each way of choosing names, best first, and the seconds that it took."""
    rows = ranking.rows
    known = [row for row in rows if row.published_top1 is not None]
    features = sum(row.feature_seconds for row in rows)
    ways = {
        "published top-1": (sorted(known, key=lambda row: -row.published_top1), 0.0),
        "multiply-adds": (sorted(rows, key=lambda row: -row.macs), 0.0),
        "LogME": (
            sorted(rows, key=lambda row: -row.logme),
            features + sum(row.logme_seconds for row in rows),
        ),
        "nearest neighbours": (
            sorted(rows, key=lambda row: -row.knn),
            features + sum(row.knn_seconds for row in rows),
        ),
        "linear probe": (rows, features + sum(row.probe_seconds for row in rows)),
    }
    named = {way: ([row.model for row in found], spent) for way, (found, spent) in ways.items() if found}
    return {**named, "successive halving": (list(halving.names), halving.seconds)}


def main():
    """Train, choose, and print what each choice loses."""
    made = parser(__doc__)
    add_data_options(made, train=2_000, validation=500, test=2_000)
    made.add_argument(
        "--models",
        nargs="+",
        default=["mobilenet", "mobilenet:64", "mobilenet_v2_035", "mobilenet_v2_035:64"],
        metavar="NAME[:SIZE]",
    )
    made.add_argument(
        "--file", action="append", default=[], metavar="BACKBONE=PATH", help="a backbone's weights file"
    )
    made.add_argument("--recipe", default="default", help="(default default)")
    made.add_argument("--epochs", type=int, default=1, help="of the first round of halving (default 1)")
    made.add_argument("--seeds", type=int, default=1, help="trainings in full (default 1)")
    options = made.parse_args()
    import transferzoo as tz

    data, models = load(options), models_of(options)
    warm_up(data)
    quiet = {"verbose": False}
    ranking = tz.rank(models, data, seed=options.seed, cache=False, **quiet)
    print(f"{ranking}\n", flush=True)
    quiet |= {"lint": False, "cache": False, "recipe": options.recipe}
    halving = tz.studies.successive_halving(
        models, data, epochs=options.epochs, seed=options.seed, save_model=False, **quiet
    )
    print(f"{halving}\n", flush=True)
    study = tz.compare(models, data, seeds=range(options.seeds), save_model=False, **quiet)
    print(f"{study}\n")
    worth = {row["model"]: row["accuracy"] for row in study.summary()}
    spent = {name: statistics.fmean(run.costs["train_seconds"] for run in study.runs(name)) for name in worth}
    best = max(worth.values())
    found = choices(ranking, halving)
    rows = [
        (way, f"`{names[0]}`", f"{100 * (best - worth[names[0]]):.1f}", f"{seconds:,.0f}")
        for way, (names, seconds) in found.items()
    ]
    three = found["linear probe"][0][:3]
    first = max(three, key=worth.get)
    after = found["linear probe"][1] + sum(spent[name] for name in three)
    rows.append(
        ("best of the probe's three", f"`{first}`", f"{100 * (best - worth[first]):.1f}", f"{after:,.0f}")
    )
    everything = sum(spent.values())
    rows.append(("all in full", f"`{max(worth, key=worth.get)}`", "0.0", f"{everything:,.0f}"))
    setting = (
        f"{machine()}; {data!r}; {len(models)} models, weights {options.weights}; recipe {options.recipe}, "
        f"seeds {options.seeds}"
    )
    print(f"{setting}\n\n{table(('way of choosing', 'names', 'regret, points', 'seconds'), rows)}")
    write_json(
        options.json,
        {
            "setting": setting,
            "worth": worth,
            "seconds": spent,
            "choices": {way: names for way, (names, _) in found.items()},
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
