"""Weights that are part of the library, so that transfer learning can be tried without a network.

How they were trained, and what they get right: docs/shipped-weights.md.
"""

from __future__ import annotations

from transferzoo.backbones.backbone import Weights


def _from_cifar10(backbone: str, sha256: str, stem: str = "original") -> Weights:
    return Weights(
        name="cifar10",
        url=f"{backbone}-cifar10.weights.h5",
        hash=f"sha256:{sha256}",
        trained_on="49,000 training images of CIFAR-10 (Krizhevsky 2009)",
        licence="Apache-2.0",
        source="trained for this library, by its recipe from_scratch",
        shipped=True,
        stem=stem,
        size=32,
    )


SHIPPED = {
    "resnet20": _from_cifar10("resnet20", "6626597c61d0815bb649eaf07e7c74582285686277be5e982032ea1b5f8b07ae"),
    "mobilenet_025": _from_cifar10(
        "mobilenet_025", "64792222def4f9b54f5d119985a7444460b022bd0979b79618ee13e7972bbc53", stem="stride1"
    ),
}
