"""A literal port of the article's script to today's Keras, faults included, for other benchmarks to import.

It is what a reader of the 2021 tutorial would have after mending no more than what Keras took away: raw
0 to 255 pixels, augmented validation images of which some count twice, a plateau that falls a hundredfold.
Each model has an optimizer of its own, which Keras now demands. Run by itself, it trains and prints:

    python benchmarks/article_port.py --backbone mobilenet --epochs 3

The images come from Keras (`keras.datasets.cifar10`), the weights from `keras.applications`.
"""

import time
from dataclasses import dataclass

import numpy as np

BACKBONES = {"mobilenet": "MobileNet", "resnet50": "ResNet50"}
EPOCHS = {"mobilenet": 100, "resnet50": 30}
BATCH_SIZE = 100
# steps per epoch, and the images they were for; kept in proportion where there are fewer
STEPS = (350, 35_000)
VALIDATION_STEPS = (250, 15_000)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What the script leaves: the model, Keras' history, and the seconds that `fit` took."""

    model: object
    history: dict
    seconds: float
    train_images: int
    validation_images: int


def build(name, *, weights="imagenet", num_classes=10, input_shape=(32, 32, 3)):
    """Return the article's model, compiled; `name` is "mobilenet" or "resnet50"."""
    import keras
    from keras import layers

    backbone = getattr(keras.applications, BACKBONES[name])(
        include_top=False, weights=weights, input_shape=input_shape
    )
    model = keras.Sequential([backbone, layers.Flatten(), layers.Dense(1024, activation="relu")])
    for units, rate in ((512, 0.4), (256, 0.3), (128, 0.2)):
        model.add(layers.Dense(units, activation="relu"))
        # the article gives dropout to one of its two heads only
        if name == "resnet50":
            model.add(layers.Dropout(rate))
    model.add(layers.Dense(num_classes, activation="softmax"))
    model.compile(
        optimizer=keras.optimizers.SGD(learning_rate=0.001, momentum=0.9),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def split(x, y, seed=None):
    """Return the training and validation images, then their labels: 70 and 30 percent, not stratified."""
    from sklearn.model_selection import train_test_split

    return train_test_split(x, y, test_size=0.3, random_state=seed)


def steps_for(images, article):
    """Return the steps for so many images, rounded up, in the proportion of the article's."""
    steps, for_images = article
    return -(-images * steps // for_images)


def train_port(name, x=None, y=None, *, seed=None, **options):
    """Train as the article does and return a `Trained`.

    Parameters
    ----------
    name : {"mobilenet", "resnet50"}
    x, y : arrays, optional
        Images 0 to 255, ``(n, 32, 32, 3)``, and labels ``(n,)``, before the split; CIFAR-10's training part
        if left out.
    seed : int, optional
        Of the split, the order and the random weights; the article sets none.
    **options
        As `train_parts` takes them.
    """
    if x is None:
        import keras

        x, y = keras.datasets.cifar10.load_data()[0]
    return train_parts(name, *split(x, y, seed), seed=seed, **options)


def train_parts(
    name,
    x_train,
    x_validation,
    y_train,
    y_validation,
    *,
    test=(),
    weights="imagenet",
    epochs=None,
    seed=None,
    callbacks=(),
    verbose=0,
):
    """Train on parts that are split already, as `split` returns them.

    Parameters
    ----------
    test : pair of arrays, optional
        Test images and labels: the script makes a generator for them too, which it never uses.
    weights : {"imagenet", None}
    epochs : int, optional
        The article's own number if left out.
    callbacks : iterable of keras.callbacks.Callback
        After the article's plateau.
    verbose : int, default 0
        As `fit` takes it.
    """
    import keras
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    if seed is not None:
        keras.utils.set_random_seed(seed)
    num_classes = int(max(np.max(y_train), np.max(y_validation))) + 1
    # `fit` of a generator is left out: it copies all images twice and, without feature-wise statistics,
    # changes nothing
    train_flow, validation_flow, *_unused = (
        ImageDataGenerator(rotation_range=2, horizontal_flip=True, zoom_range=0.1).flow(
            images, keras.utils.to_categorical(labels, num_classes), batch_size=BATCH_SIZE
        )
        for images, labels in ((x_train, y_train), (x_validation, y_validation), *([test] if test else []))
    )
    model = build(name, weights=weights, num_classes=num_classes, input_shape=x_train.shape[1:])
    plateau = keras.callbacks.ReduceLROnPlateau(monitor="val_accuracy", factor=0.01, patience=3, min_lr=1e-5)
    began = time.perf_counter()
    history = model.fit(
        train_flow,
        epochs=EPOCHS[name] if epochs is None else epochs,
        steps_per_epoch=steps_for(len(x_train), STEPS),
        # a generator, as Keras now stops such a flow where its images are used up
        validation_data=(batch for batch in validation_flow),
        validation_steps=steps_for(len(x_validation), VALIDATION_STEPS),
        callbacks=[plateau, *callbacks],
        verbose=verbose,
    )
    return Trained(
        model=model,
        history=history.history,
        seconds=time.perf_counter() - began,
        train_images=len(x_train),
        validation_images=len(x_validation),
    )


def predict_classes(model, images):
    """Return the class of each image, int64 ``(n,)``: what `predict_classes` used to give."""
    return np.argmax(model.predict(images, verbose=0), axis=1)


def main():
    """Train one backbone and print its test accuracy."""
    from reporting import machine, parser, table, write_json

    made = parser(__doc__)
    made.add_argument("--backbone", default="mobilenet", choices=BACKBONES, help="(default mobilenet)")
    made.add_argument("--dataset", help="a dataset that transferzoo knows; default: CIFAR-10 from Keras")
    made.add_argument("--images", type=int, help="training images, before the split (default all)")
    made.add_argument("--epochs", type=int, help="default: the article's, 100 and 30")
    made.add_argument(
        "--weights", default="imagenet", choices=("imagenet", "none"), help="(default imagenet)"
    )
    made.add_argument("--seed", type=int, help="default: none, as in the article")
    options = made.parse_args()
    if options.dataset is None:
        import keras

        (x, y), (x_test, y_test) = keras.datasets.cifar10.load_data()
        y, y_test = y.ravel(), y_test.ravel()
    else:
        import transferzoo as tz

        data = tz.load_dataset(options.dataset)
        x = np.concatenate([data.x_train, data.x_validation])
        y = np.concatenate([data.y_train, data.y_validation])
        x_test, y_test = data.x_test, data.y_test
    trained = train_port(
        options.backbone,
        x[: options.images],
        y[: options.images],
        weights=None if options.weights == "none" else options.weights,
        epochs=options.epochs,
        seed=options.seed,
        verbose=2,
    )
    accuracy = float(np.mean(predict_classes(trained.model, x_test) == y_test))
    setting = f"{machine()}; {trained.train_images:,} training images, weights {options.weights}"
    epochs = len(trained.history["loss"])
    row = (options.backbone, epochs, f"{accuracy:.1%}", f"{trained.seconds:,.0f}")
    print(f"\n{setting}\n\n{table(('backbone', 'epochs', 'test accuracy', 'seconds of fit'), [row])}")
    figures = {"setting": setting, "accuracy": accuracy, "seconds": trained.seconds}
    write_json(options.json, {**figures, "history": trained.history})


if __name__ == "__main__":
    main()
