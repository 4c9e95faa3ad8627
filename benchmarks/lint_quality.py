"""How well lint finds faults in data: faults are planted in real images, and its findings are counted.

Copies of training images go into the test set, changed by JPEG compression, brightness, a mirror or a crop;
labels are swapped; one class is brightened; one class is stored in another format; images are blackened; the
frames of groups are divided between splits. Recall is the share of the planted ones that a check names.
Precision is the share of the named ones that were planted; of near copies, those in the images as they were
are left out. A check that says yes or no is asked with the fault and without it.

    python benchmarks/lint_quality.py
    python benchmarks/lint_quality.py --train 2000 --test 500 --dataset digits --weights none

The goal: near copies with a precision of 95 % or more; no finding in clean images that a person would not
make.
"""

import io
import tempfile
import time
from pathlib import Path

import numpy as np
from reporting import add_data_options, load, machine, parser, table, weights, write_json

SHARE = 0.05
SPLITS = ("test", "validation", "train")


def jpeg(image, quality=50):
    """Return an image after JPEG compression."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def brighter(image, by=30):
    """Return a brighter image."""
    return np.clip(image.astype(int) + by, 0, 255).astype(np.uint8)


def cropped(image):
    """Return an image without a tenth of its side at each edge, in the same size."""
    from PIL import Image

    edge = max(1, image.shape[0] // 10)
    inner = Image.fromarray(image[edge:-edge, edge:-edge])
    return np.asarray(inner.resize(image.shape[1::-1], Image.BILINEAR))


CHANGES = {
    "JPEG, quality 50": jpeg,
    "brightness + 30": brighter,
    "mirrored": lambda image: image[:, ::-1],
    "cropped by a tenth": cropped,
}


def rebuilt(data, **changes):
    """Return a dataset with some arrays in place of its own."""
    import dataclasses

    return dataclasses.replace(data, **changes)


def copies(data, rng):
    """Return a row for each change of planted copies, and one for the images as they were."""
    from transferzoo.linting.duplicates import near_copies

    others = (data.x_train, data.x_validation)
    clean = near_copies(data.x_test, others, mirrored=data.flip_safe)
    natural = set(clean.pairs[:, 0].tolist())
    rows = [
        ("near copies in the images as they are", "–", "–", f"{len(natural):,} of {len(data.x_test):,} named")
    ]
    for name, change in CHANGES.items():
        count = min(200, len(data.x_test) // 4)
        places = rng.choice(np.setdiff1d(np.arange(len(data.x_test)), list(natural)), count, replace=False)
        sources = rng.choice(len(data.x_train), count, replace=False)
        x = data.x_test.copy()
        x[places] = [change(data.x_train[source]) for source in sources]
        found = near_copies(x, others, mirrored=data.flip_safe).pairs
        named = dict(found.tolist())
        right = sum(
            named.get(int(place)) == int(source) for place, source in zip(places, sources, strict=True)
        )
        wrong = len(set(named) - natural - set(places.tolist()))
        rows.append(
            (
                f"near copies: {name}",
                f"{right / count:.0%}",
                f"{right / max(1, right + wrong):.0%}",
                f"{count} planted, {wrong} others named",
            )
        )
    return rows


def labels(data, rng, options):
    """Return rows for swapped labels, and for the labels as they were."""
    import transferzoo as tz
    from transferzoo.linting.feature_checks import label_errors

    model = tz.build(
        options.backbone, data.num_classes, weights=weights(options), input_shape=data.input_shape
    )
    x = np.concatenate([data.x_train, data.x_validation, data.x_test])
    y = np.concatenate([data.y_train, data.y_validation, data.y_test])
    features = np.asarray(tz.extract_features(model, x))
    began = time.perf_counter()
    before = label_errors(features, y)
    seconds = time.perf_counter() - began
    rows = [
        (
            "label errors in the labels as they are",
            "–",
            "–",
            f"{len(before.index):,} of {len(y):,} named, in {seconds:.0f} s",
        )
    ]
    for share in (0.02, SHARE, 0.1):
        swapped = rng.choice(len(y), round(share * len(y)), replace=False)
        wrong = y.copy()
        wrong[swapped] = (y[swapped] + rng.integers(1, data.num_classes, len(swapped))) % data.num_classes
        found = label_errors(features, wrong)
        right = np.isin(found.index, swapped)
        named = (found.looks_like == y[found.index])[right].mean() if right.any() else np.nan
        rows.append(
            (
                f"label errors: {share:.0%} of the labels swapped",
                f"{right.sum() / len(swapped):.0%}",
                f"{right.mean() if len(right) else np.nan:.0%}",
                f"{len(found.index)} named, with the right class in {named:.0%} of the hits",
            )
        )
    return rows


def row(code, planted, spoilt, data):
    """Return what a check says with a fault, and without it."""
    from transferzoo.linting.image_checks import image_findings

    found = [any(each.code == code for each in image_findings(which)) for which in (spoilt, data)]
    words = "found" if found[0] else "not found", "found" if found[1] else "nothing"
    return f"{code}: {planted}", words[0], "", f"{words[1]} without it"


def shortcuts(data):
    """Return rows for one class brightened, and for test images that are darker."""
    rows = []
    for by in (30, 60):
        x = {f"x_{split}": images.copy() for split, (images, _) in data.splits.items()}
        for split, (_, y) in data.splits.items():
            chosen = y == 1
            x[f"x_{split}"][chosen] = brighter(x[f"x_{split}"][chosen], by)
        rows.append(row("TZ212", f"one class brightened by {by}", rebuilt(data, **x), data))
    darker = rebuilt(data, x_test=brighter(data.x_test, -30))
    rows.append(row("TZ214", "test images darker by 30", darker, data))
    black = data.x_train.copy()
    black[:: max(1, len(black) // 50)] = 3
    rows.append(row("TZ215", "50 black images", rebuilt(data, x_train=black), data))
    return rows


def files(data):
    """Return rows for a class in another format, and for names in groups, with folders of real files."""
    from PIL import Image

    import transferzoo as tz

    def written(folder, name):
        x, y = (np.concatenate([getattr(data, f"{part}_{split}") for split in SPLITS]) for part in "xy")
        for number, (image, label) in enumerate(zip(x[:1000], y[:1000], strict=True)):
            path = folder / str(data.class_names[label]) / name(number, label)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
        return tz.from_directory(folder)

    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        plain = written(root / "plain", lambda number, label: f"{number:05d}.png")
        format_fault = written(
            root / "format", lambda number, label: f"{number:05d}.{'jpg' if label == 1 else 'png'}"
        )
        rows.append(row("TZ213", "one class as JPEG, the others as PNG", format_fault, plain))
        groups = written(root / "groups", lambda number, label: f"video{number // 40}-{number}.png")
        rows.append(row("TZ216", "names of videos and frames", groups, plain))
    return rows


def main():
    """Plant, look, print, and write where that was asked for."""
    made = parser(__doc__)
    add_data_options(made, train=5000, validation=1000, test=2000)
    made.add_argument("--backbone", default="mobilenet", help="(default mobilenet)")
    options = made.parse_args()
    data = load(options)
    rng = np.random.default_rng(options.seed)
    setting = f"{machine()}; {options.backbone}, weights {options.weights}; {data!r}"
    print(f"{setting}\n", flush=True)
    rows = [*copies(data, rng), *labels(data, rng, options), *shortcuts(data), *files(data)]
    print(table(("planted", "recall", "precision", ""), rows))
    write_json(options.json, {"setting": setting, "rows": rows})


if __name__ == "__main__":
    main()
