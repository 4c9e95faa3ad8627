"""What a practised person gets with Keras and scikit-learn alone, against `default` in the same minutes.

The hand-written side is a plain script, given every benefit: it knows beforehand how long a step takes on
this machine, so its schedule ends exactly with its time; it holds no images out; and it needs no latency, no
confusion matrix and no record. It solves a logistic regression on standardised features of 5,000 images, sets
it as the head, and fine-tunes all layers at 96 pixels: BatchNorm in inference mode, SGD at 0.01 with
Nesterov's momentum, 5 % warm-up, a cosine, batches of 64, flips and 4-pixel crops, label smoothing 0.1. Where
less than a minute and a half is left for that, it stays with a regression on features of as many images as
it has time for.

The other side is one call, `fit_and_evaluate(backbone, data, minutes=…)`, with a tenth of the images held
out. Both take turns in one process. Seconds are those of the whole call, and of the script without testing.

    python benchmarks/practised_hand.py --minutes 2 5 10 30
    python benchmarks/practised_hand.py --minutes 2 --repeats 3

The goal: `default` ahead at every number of minutes, and 93 % at 30.
"""

import math
import time

import numpy as np
from reporting import accuracy_of, machine, parser, spread, table, warm_up, weights, write_json

SIZE = 96
BATCH = 64
HEAD_IMAGES = 5_000
STRENGTH = 0.003
RATE, WARMUP, SMOOTHING, MOMENTUM = 0.01, 0.05, 0.1, 0.9
# under this many seconds of fine-tuning a head alone is the better bet
WORTH_MOVING = 90.0
# images whose features a second gives are counted on so many
TRIAL = 512


def build(options, shape, classes):
    """Return the network from pixels to probabilities, and its part up to the features."""
    import keras
    from keras import layers

    backbone = keras.applications.MobileNet(
        include_top=False, weights=weights(options), input_shape=(SIZE, SIZE, 3)
    )
    images = keras.Input(shape)
    x = layers.Resizing(SIZE, SIZE, interpolation="bilinear")(images)
    x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    features = layers.GlobalAveragePooling2D()(backbone(x, training=False))
    outputs = layers.Dense(classes, activation="softmax", name="classifier")(features)
    return keras.Model(images, outputs), keras.Model(images, features)


def solve(model, features, labels):
    """Set the classifier to a logistic regression on standardised features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features)
    found = LogisticRegression(C=STRENGTH, max_iter=300).fit(scaler.transform(features), labels)
    kernel = (found.coef_ / scaler.scale_).T
    bias = found.intercept_ - scaler.mean_ @ kernel
    model.get_layer("classifier").set_weights([kernel.astype("float32"), bias.astype("float32")])


def batches(x, y, classes, generator):
    """Yield batches of flipped and shifted images for ever."""
    one_hot = np.eye(classes, dtype="float32")
    side = x.shape[1]
    while True:
        order = generator.permutation(len(x))
        for start in range(0, len(x) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            padded = np.pad(x[chosen], ((0, 0), (4, 4), (4, 4), (0, 0)))
            images = np.empty((BATCH, *x.shape[1:]), "float32")
            for i, (top, left, flip) in enumerate(
                zip(*generator.integers(0, 9, (2, BATCH)), generator.random(BATCH) < 0.5, strict=True)
            ):
                image = padded[i, top : top + side, left : left + side]
                images[i] = image[:, ::-1] if flip else image
            yield images, one_hot[y[chosen]]


def compile_for(model, steps):
    """Compile with a warm-up and a cosine over so many steps."""
    import keras

    warmup = max(1, round(WARMUP * steps))
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), warmup_target=RATE, warmup_steps=warmup
    )
    model.compile(
        keras.optimizers.SGD(rate, momentum=MOMENTUM, nesterov=True),
        keras.losses.CategoricalCrossentropy(label_smoothing=SMOOTHING),
    )


def trial(options, x, y, classes):
    """Return seconds: of building and of the first step, of a step, and of an image's features."""
    began = time.perf_counter()
    model, featurer = build(options, x.shape[1:], classes)
    compile_for(model, 10)
    flow = batches(x, y, classes, np.random.default_rng(0))
    model.train_on_batch(*next(flow))
    first = time.perf_counter() - began
    steps = [next(flow) for _ in range(12)]
    began = time.perf_counter()
    for step in steps:
        model.train_on_batch(*step)
    step = (time.perf_counter() - began) / len(steps)
    featurer.predict(x[:TRIAL], batch_size=128, verbose=0)
    began = time.perf_counter()
    featurer.predict(x[:TRIAL], batch_size=128, verbose=0)
    return first, step, (time.perf_counter() - began) / len(x[:TRIAL])


def by_hand(options, x, y, classes, minutes, known, seed):
    """Return a trained model, what was done, and the seconds."""
    import keras

    keras.utils.set_random_seed(seed)
    began = time.perf_counter()
    generator = np.random.default_rng(seed)
    model, featurer = build(options, x.shape[1:], classes)
    budget = 60 * minutes
    first, step, image = known
    order = generator.permutation(len(x))
    head_seconds = 1.5 * HEAD_IMAGES * image + 5
    moving = budget - head_seconds - first
    if moving < WORTH_MOVING:
        # a regression takes about as long as a third of the features that it is made on
        count = min(len(x), max(classes * 5, math.floor((budget - 3) / (1.4 * image))))
        chosen = order[:count]
        features = featurer.predict(x[chosen], batch_size=128, verbose=0)
        solve(model, features, y[chosen])
        return model, f"head on {count:,} images", time.perf_counter() - began
    chosen = order[:HEAD_IMAGES]
    solve(model, featurer.predict(x[chosen], batch_size=128, verbose=0), y[chosen])
    steps = max(1, math.floor((budget - (time.perf_counter() - began) - first) / step))
    compile_for(model, steps)
    flow = batches(x, y, classes, generator)
    model.fit(flow, steps_per_epoch=steps, epochs=1, verbose=0)
    return model, f"{steps * BATCH / len(x):.2f} epochs", time.perf_counter() - began


def by_call(options, data, minutes, seed):
    """Return the accuracy of one call, what it chose, and its seconds."""
    import transferzoo as tz
    from transferzoo.training.budget import in_words

    began = time.perf_counter()
    result = tz.fit_and_evaluate(
        options.backbone,
        data,
        minutes=minutes,
        weights=weights(options),
        seed=seed,
        cache=False,
        lint=False,
        verbose=False,
    )
    seconds = time.perf_counter() - began
    chosen = result.provenance["chosen"]
    return result.accuracy, f"{in_words(chosen)}; returned {result.provenance['returned']}", seconds


def main():
    """Race, print, and write where that was asked for."""
    made = parser(__doc__)
    made.add_argument("--minutes", type=float, nargs="+", default=[2, 5, 10, 30], help="(default 2 5 10 30)")
    made.add_argument("--repeats", type=int, default=1, help="with other seeds (default 1)")
    made.add_argument("--dataset", default="cifar10", help="a named dataset (default cifar10)")
    made.add_argument("--train", type=int, help="take fewer training images, on both sides")
    made.add_argument("--seed", type=int, default=0, help="of the first repeat (default 0)")
    made.add_argument(
        "--weights", default="imagenet", choices=("imagenet", "none"), help="(default imagenet)"
    )
    options = made.parse_args()
    options.backbone = "mobilenet"
    import keras

    import transferzoo as tz

    data = tz.load_dataset(options.dataset, validation=0.1, seed=0)
    if options.train:
        held_out = max(data.num_classes, options.train // 10)
        data = data.subset(train=options.train - held_out, validation=held_out, seed=0)
    x = np.concatenate([data.x_train, data.x_validation])
    y = np.concatenate([data.y_train, data.y_validation])
    warm_up(data)
    known = trial(options, x, y, data.num_classes)
    setting = f"{machine()}; {options.backbone}, weights {options.weights}; {data!r}"
    print(f"{setting}\nby hand, a step takes {known[1]:.3f} s", flush=True)
    runs = []
    for repeat in range(options.repeats):
        for minutes in options.minutes:
            for side in ("by hand", "default") if repeat % 2 == 0 else ("default", "by hand"):
                keras.backend.clear_session()
                seed = options.seed + repeat
                if side == "by hand":
                    model, words, seconds = by_hand(options, x, y, data.num_classes, minutes, known, seed)
                    accuracy = accuracy_of(model, data)
                    del model
                else:
                    accuracy, words, seconds = by_call(options, data, minutes, seed)
                runs.append(
                    {
                        "minutes": minutes,
                        "side": side,
                        "seed": seed,
                        "accuracy": accuracy,
                        "seconds": seconds,
                        "what": words,
                    }
                )
                print(f"{minutes:g} min, {side}: {accuracy:.2%} after {seconds:.0f} s ({words})", flush=True)
                write_json(options.json, {"setting": setting, "runs": runs})
    rows = []
    for minutes in options.minutes:
        sides = {
            side: [run for run in runs if (run["minutes"], run["side"]) == (minutes, side)]
            for side in ("by hand", "default")
        }
        pairs = zip(sides["default"], sides["by hand"], strict=True)
        rows.append(
            (
                f"{minutes:g}",
                *(
                    cell
                    for found in sides.values()
                    for cell in (
                        spread([100 * run["accuracy"] for run in found], 1),
                        spread([run["seconds"] for run in found], 0),
                    )
                ),
                spread([100 * (mine["accuracy"] - theirs["accuracy"]) for mine, theirs in pairs], 1),
            )
        )
    columns = (
        *("minutes", "by hand, %", "by hand, s", "`default`, %", "`default`, s"),
        "points ahead",
    )
    print(f"\n{setting}\n\n{table(columns, rows)}")


if __name__ == "__main__":
    main()
