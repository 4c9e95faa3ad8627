"""A backbone, a head, a dataset and a recipe; imported when one of their names is used."""

import numpy as np

import transferzoo as tz
from transferzoo.heads import Classifier, Head, Pool


def small_network(input_shape):
    """Two convolutions; Keras is imported when the network is built, and not before."""
    import keras
    from keras import layers

    x = images = keras.Input(input_shape)
    for filters in (16, 32):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(images, x)


BACKBONE = tz.Backbone(
    name="stripes_cnn",
    family="example",
    paper="none",
    builder="transferzoo_stripes:small_network",
    feature_channels=32,
    reduction=4,
    native_size=32,
    minimum_size=8,
    default_size=32,
    stems=("original",),
)
HEAD = Head(Pool("max"), Classifier())
RECIPE = tz.Recipe(
    name="two_epochs",
    description="Two epochs of SGD at a constant rate.",
    phases=(tz.Phase(name="all", epochs=2, learning_rate=0.05, batch_size=16),),
)


def load_stripes(*, validation=0.2, seed=0, images=120):
    """Stripes that lie or stand: uint8 ``(n, 32, 32, 3)``, two classes."""
    generator = np.random.default_rng(1)
    y = np.arange(images) % 2
    x = generator.integers(0, 100, (images, 32, 32, 3))
    x[y == 0, ::4] += 100
    x[y == 1, :, ::4] += 100
    return tz.from_arrays(
        x, y, class_names=["lying", "standing"], validation=validation, seed=seed, name="stripes"
    )
