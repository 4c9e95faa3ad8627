"""Weights that are part of the library, so that transfer learning can be tried without a network.

How they were trained, and what they get right: docs/shipped-weights.md.
"""

from __future__ import annotations

from transferzoo.backbones.backbone import Weights

_TRAINED_ON = "49,000 training images of CIFAR-10 (Krizhevsky 2009)"
_SOURCE = "trained for this library, by its recipe from_scratch"

SHIPPED = {
    "resnet20": Weights(
        name="cifar10",
        url="resnet20-cifar10.weights.h5",
        hash="sha256:6626597c61d0815bb649eaf07e7c74582285686277be5e982032ea1b5f8b07ae",
        trained_on=_TRAINED_ON,
        licence="Apache-2.0",
        source=_SOURCE,
        shipped=True,
        size=32,
    ),
    "mobilenet_025": Weights(
        name="cifar10",
        url="mobilenet_025-cifar10.weights.h5",
        hash="sha256:64792222def4f9b54f5d119985a7444460b022bd0979b79618ee13e7972bbc53",
        trained_on=_TRAINED_ON,
        licence="Apache-2.0",
        source=_SOURCE,
        shipped=True,
        stem="stride1",
        size=32,
    ),
}
