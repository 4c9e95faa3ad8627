"""Register a backbone, a head and a recipe of your own, and compare them with the built-in ones.

    python examples/own_backbone_and_head.py
    python examples/own_backbone_and_head.py --train 100 --test 50 --epochs 1

Once registered, a name works wherever a built-in one does. Needs no network.
"""

import argparse
from pathlib import Path

import transferzoo as tz
from transferzoo.heads import Classifier, Dense, Dropout, Head, Pool


def small_cnn(input_shape, width=32):
    """Three convolutions with stride 2: 32×32 pixels become a 4×4 map."""
    import keras
    from keras import layers

    images = keras.Input(input_shape)
    x = images
    for factor in (1, 2, 4):
        x = layers.Conv2D(factor * width, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
    # no pooling and no classifier: those are the head's part
    return keras.Model(images, x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, help="training images (default: all 1,150)")
    parser.add_argument("--test", type=int, help="test images (default: all 359)")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/own"))
    options = parser.parse_args()

    tz.register_backbone(
        "small_cnn",
        small_cnn,
        arguments={"width": 16},
        feature_channels=64,
        reduction=8,
        native_size=32,
        note="Three convolutions, for small images.",
    )
    tz.register_head("pooled_mlp", Head(Pool("max"), Dense(64), Dropout(0.2), Classifier()))
    tz.register_recipe(
        tz.Recipe(
            name="plain_sgd",
            description="SGD at a constant rate that is lowered when validation accuracy stops rising.",
            phases=(
                tz.Phase(
                    name="all",
                    epochs=options.epochs,
                    learning_rate=0.02,
                    batch_size=32,
                    plateau=tz.Plateau(factor=0.2, patience=3),
                ),
            ),
            keep="best",
        )
    )
    print(tz.backbone_info("small_cnn"), "\n")

    data = tz.load_dataset("digits", seed=options.seed).subset(train=options.train, test=options.test)
    study = tz.compare(
        ["small_cnn", "mobilenet_025"],
        data,
        recipe="plain_sgd",
        head="pooled_mlp",
        weights=None,
        seed=options.seed,
        out=options.out,
    )
    print(study)
    tz.plots.accuracy_against_cost(study).figure.savefig(options.out / "accuracy_against_cost.png")
    print(f"saved in {options.out}")


if __name__ == "__main__":
    main()
