"""The networks of keras.applications as records: what was published of each, and where it was read.

What can be counted (parameters, multiply-adds, channels, …) is not typed here: `measured.py` has it.
"""

from __future__ import annotations

from typing import Any

from transferzoo.backbones.backbone import (
    IMAGENET_BGR,
    IMAGENET_RGB,
    MINUS_ONE_TO_ONE,
    RAW,
    Backbone,
    Preprocessing,
    Weights,
)
from transferzoo.backbones.measured import MEASURED

_KERAS_FILES = "https://storage.googleapis.com/tensorflow/keras-applications"
_IMAGENET = "ImageNet-1k (ILSVRC 2012)"
_IMAGENET_21K = "ImageNet-21k, then ImageNet-1k (ILSVRC 2012)"
_SCALES_ITSELF = "Takes pixels from 0 to 255 and scales them inside."

# where accuracies were read
_KERAS_TABLE = "keras.io/api/applications, table of available models"
_MOBILENET_TABLE = "TensorFlow's API pages, tf.keras.applications.mobilenet, after the paper's table 6"
_MOBILENET_V2_TABLE = "github.com/tensorflow/models, research/slim/nets/mobilenet/README.md"
_MOBILENET_V3_TABLE = "docstring of keras.applications.MobileNetV3Large, Keras 3.15"

# where licences were read; the first page has a section "License" under each of its networks
_OLD_PAGE = "keras.io/applications of Keras 2.2.5"
_APACHE = "Apache-2.0, as published by the authors"
_CONVERTED = "converted from the authors' TensorFlow model by the Keras project"
_FROM_AUTHORS = f"{_CONVERTED} ({_OLD_PAGE})"
_FROM_MODELS = f"{_CONVERTED} (github.com/tensorflow/models)"
_FROM_GOOGLE = f"{_CONVERTED} (github.com/google/automl)"


def _files(
    file: str,
    *,
    licence: str = _APACHE,
    source: str = _FROM_AUTHORS,
    hash: str | None = None,
    trained_on: str = _IMAGENET,
    folder: str = _KERAS_FILES,
) -> tuple[Weights, ...]:
    return (
        Weights(
            name="imagenet",
            url=f"{folder}/{file}",
            hash=hash,
            trained_on=trained_on,
            licence=licence,
            source=source,
        ),
    )


def _record(
    name: str,
    family: str,
    paper: str,
    function: str,
    *,
    top1: float,
    weights: tuple[Weights, ...],
    arguments: dict[str, Any] | None = None,
    builder: str = "",
    preprocessing: Preprocessing = MINUS_ONE_TO_ONE,
    top1_source: str = _KERAS_TABLE,
    native_size: int = 224,
    minimum_size: int = 32,
    note: str = "",
) -> Backbone:
    counted = MEASURED[name]
    return Backbone(
        name=name,
        family=family,
        paper=paper,
        builder=builder or f"keras.applications:{function}",
        # no classifier, and no download of Keras' own
        arguments={"include_top": False, "weights": None, **(arguments or {})},
        native_size=native_size,
        minimum_size=minimum_size,
        # 96 for 224, and as much larger as the network was trained larger, in steps of 32
        default_size=max(96, round(native_size * 96 / 224 / 32) * 32),
        preprocessing=preprocessing,
        weights=weights,
        top1=top1,
        top1_source=top1_source,
        note=note,
        parameters=counted.parameters,
        multiply_adds=counted.multiply_adds,
        feature_channels=counted.feature_channels,
        reduction=counted.reduction,
        last_convolution=counted.last_convolution,
        stems=counted.stems,
    )


def _resnets() -> list[Backbone]:
    v1 = "He et al. (2016), Deep Residual Learning for Image Recognition, CVPR, arXiv:1512.03385"
    v2 = "He et al. (2016), Identity Mappings in Deep Residual Networks, ECCV, arXiv:1603.05027"
    kaiming = f"converted from the authors' Caffe model by the Keras project ({_OLD_PAGE})"
    facebook = f"converted from fb.resnet.torch by the Keras project ({_OLD_PAGE})"
    records = []
    for depth, top1, md5, top1_v2, md5_v2 in (
        (50, 74.9, "4d473c1dd8becc155b73f8504c6f6626", 76.0, "fac2f116257151a9d068a22e544a4917"),
        (101, 76.4, "88cf7a10940856eca736dc7b7e228a21", 77.2, "c0ed64b8031c3730f411d2eb4eea35b5"),
        (152, 76.6, "ee4c566cf9a93f14d82f913c2dc6dd0c", 78.0, "ed17cf2e0169df9d443503ef94b23b33"),
    ):
        end = "weights_tf_dim_ordering_tf_kernels_notop.h5"
        records += [
            _record(
                f"resnet{depth}",
                "resnet",
                v1,
                f"ResNet{depth}",
                top1=top1,
                preprocessing=IMAGENET_BGR,
                weights=_files(
                    f"resnet/resnet{depth}_{end}",
                    licence="MIT, as published by the authors",
                    source=kaiming,
                    hash=f"md5:{md5}",
                ),
            ),
            _record(
                f"resnet{depth}_v2",
                "resnet_v2",
                v2,
                f"ResNet{depth}V2",
                top1=top1_v2,
                weights=_files(
                    f"resnet/resnet{depth}v2_{end}",
                    licence="BSD, as published by the authors",
                    source=facebook,
                    hash=f"md5:{md5_v2}",
                ),
            ),
        ]
    return records


def _vggs() -> list[Backbone]:
    return [
        _record(
            f"vgg{depth}",
            "vgg",
            "Simonyan, Zisserman (2015), Very Deep Convolutional Networks, ICLR, arXiv:1409.1556",
            f"VGG{depth}",
            top1=71.3,
            preprocessing=IMAGENET_BGR,
            weights=_files(
                f"vgg{depth}/vgg{depth}_weights_tf_dim_ordering_tf_kernels_notop.h5",
                licence="CC BY 4.0, as published by the Visual Geometry Group, Oxford",
                source=f"converted from the authors' Caffe model by the Keras project ({_OLD_PAGE})",
                hash=f"md5:{md5}",
            ),
        )
        for depth, md5 in ((16, "6d6bbae143d832006294945121d1f1fc"), (19, "253f8cb515780f3b799900260a226db6"))
    ]


def _with_width(name: str, width: float) -> str:
    return name if width == 1.0 else f"{name}_{round(width * 100):03d}"


def _mobilenets() -> list[Backbone]:
    records = [
        _record(
            _with_width("mobilenet", width),
            "mobilenet",
            "Howard et al. (2017), MobileNets, arXiv:1704.04861",
            "MobileNet",
            arguments={"alpha": width},
            top1=top1,
            top1_source=_KERAS_TABLE if width == 1.0 else _MOBILENET_TABLE,
            weights=_files(f"mobilenet/mobilenet_{spelt}_224_tf_no_top.h5"),
            note=f"Width multiplier {width:g}.",
        )
        for width, spelt, top1 in (
            (0.25, "2_5", 50.6),
            (0.50, "5_0", 63.7),
            (0.75, "7_5", 68.4),
            (1.0, "1_0", 70.4),
        )
    ]
    records += [
        _record(
            _with_width("mobilenet_v2", width),
            "mobilenet_v2",
            "Sandler et al. (2018), MobileNetV2, CVPR, arXiv:1801.04381",
            "MobileNetV2",
            arguments={"alpha": width},
            top1=top1,
            top1_source=_KERAS_TABLE if width == 1.0 else _MOBILENET_V2_TABLE,
            weights=_files(
                f"mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{width}_224_no_top.h5"
            ),
            note=f"Width multiplier {width:g}.",
        )
        for width, top1 in ((0.35, 60.3), (0.50, 65.4), (0.75, 69.8), (1.0, 71.3), (1.3, 74.4), (1.4, 75.0))
    ]
    for size, alpha, minimalistic, top1, md5 in (
        ("large", 1.0, False, 75.6, "07fb09a5933dd0c8eaafa16978110389"),
        ("large", 0.75, False, 73.3, "40af19a13ebea4e2ee0c676887f69a2e"),
        ("large", 1.0, True, 72.3, "ec5221f64a2f6d1ef965a614bdae7973"),
        ("small", 1.0, False, 68.1, "d3e8ec802a04aa4fc771ee12a9a9b836"),
        ("small", 0.75, False, 65.4, "ebdb5cc8e0b497cd13a7c275d475c819"),
        ("small", 1.0, True, 61.9, "cde8136e733e811080d9fcd8a252f7e4"),
    ):
        plain = "_minimalistic" if minimalistic else ""
        records.append(
            _record(
                _with_width(f"mobilenet_v3_{size}", alpha) + plain,
                "mobilenet_v3",
                "Howard et al. (2019), Searching for MobileNetV3, ICCV, arXiv:1905.02244",
                f"MobileNetV3{size.capitalize()}",
                arguments={"alpha": alpha, "minimalistic": minimalistic},
                preprocessing=RAW,
                top1=top1,
                top1_source=_MOBILENET_V3_TABLE,
                weights=_files(
                    f"mobilenet_v3/weights_mobilenet_v3_{size}{plain}_224_{alpha}_float_no_top_v2.h5",
                    source=_FROM_MODELS,
                    hash=f"md5:{md5}",
                ),
                note=_SCALES_ITSELF
                + (" Without squeeze-and-excitation, hard swish and 5×5 kernels." if minimalistic else ""),
            )
        )
    return records


def _densenets() -> list[Backbone]:
    return [
        _record(
            f"densenet{depth}",
            "densenet",
            "Huang et al. (2017), Densely Connected Convolutional Networks, CVPR, arXiv:1608.06993",
            f"DenseNet{depth}",
            top1=top1,
            preprocessing=IMAGENET_RGB,
            weights=_files(
                f"densenet/densenet{depth}_weights_tf_dim_ordering_tf_kernels_notop.h5",
                licence="BSD-3-Clause, as published by the authors",
                source=f"converted from the authors' Torch model by the Keras project ({_OLD_PAGE})",
                hash=f"md5:{md5}",
            ),
        )
        for depth, top1, md5 in (
            (121, 75.0, "30ee3e1110167f948a6b9946edeeb738"),
            (169, 76.2, "b8c4d4c20dd625c148057b9ff1c1176b"),
            (201, 77.3, "c13680b51ded0fb44dff2d8f86ac8bb1"),
        )
    ]


def _inceptions() -> list[Backbone]:
    end = "weights_tf_dim_ordering_tf_kernels_notop.h5"
    return [
        _record(
            "inception_v3",
            "inception",
            "Szegedy et al. (2016), Rethinking the Inception Architecture, CVPR, arXiv:1512.00567",
            "InceptionV3",
            top1=77.9,
            native_size=299,
            minimum_size=75,
            weights=_files(f"inception_v3/inception_v3_{end}", hash="md5:bcbd6486424b2319ff4ef7d526e38f63"),
        ),
        _record(
            "inception_resnet_v2",
            "inception",
            "Szegedy et al. (2017), Inception-v4, Inception-ResNet, AAAI, arXiv:1602.07261",
            "InceptionResNetV2",
            top1=80.3,
            native_size=299,
            minimum_size=75,
            weights=_files(
                f"inception_resnet_v2/inception_resnet_v2_{end}", hash="md5:d19885ff4a710c122648d3b5c3b684e4"
            ),
        ),
        _record(
            "xception",
            "xception",
            "Chollet (2017), Xception: Deep Learning with Depthwise Separable Convolutions, CVPR, "
            "arXiv:1610.02357",
            "Xception",
            top1=79.0,
            native_size=299,
            minimum_size=71,
            weights=_files(
                f"xception/xception_{end}",
                licence="MIT, as published by the Keras project",
                source=f"trained by the Keras project ({_OLD_PAGE})",
                hash="md5:b0042744bf5b25fce3cb969f33bebb97",
            ),
        ),
    ]


def _nasnets() -> list[Backbone]:
    return [
        _record(
            f"nasnet_{size}",
            "nasnet",
            "Zoph et al. (2018), Learning Transferable Architectures, CVPR, arXiv:1707.07012",
            f"NASNet{size.capitalize()}",
            top1=top1,
            native_size=native,
            weights=_files(f"nasnet/NASNet-{size}-no-top.h5", hash=f"md5:{md5}"),
            note="Keras does not build it on torch.",
        )
        for size, native, top1, md5 in (
            ("mobile", 224, 74.4, "1ed92395b5b598bdda52abe5c0dbfd63"),
            ("large", 331, 82.5, "d81d89dc07e6e56530c4e77faddd61b5"),
        )
    ]


def _efficientnets() -> list[Backbone]:
    records = [
        _record(
            f"efficientnet_b{number}",
            "efficientnet",
            "Tan, Le (2019), EfficientNet: Rethinking Model Scaling, ICML, arXiv:1905.11946",
            f"EfficientNetB{number}",
            builder="transferzoo.backbones.efficientnet:efficientnet",
            arguments={"variant": f"B{number}"},
            preprocessing=RAW,
            top1=top1,
            native_size=native,
            weights=_files(
                f"efficientnetb{number}_notop.h5",
                folder="https://storage.googleapis.com/keras-applications",
                source=_FROM_GOOGLE,
                hash=f"md5:{md5}",
            ),
            note=_SCALES_ITSELF,
        )
        for number, native, top1, md5 in (
            (0, 224, 77.1, "50bc09e76180e00e4465e1a485ddc09d"),
            (1, 240, 79.1, "74c4e6b3e1f6a1eea24c589628592432"),
            (2, 260, 80.1, "111f8e2ac8aa800a7a99e3239f7bfb39"),
            (3, 300, 81.6, "af6d107764bb5b1abb91932881670226"),
            (4, 380, 82.9, "ebc24e6d6c33eaebbd558eafbeedf1ba"),
            (5, 456, 83.6, "38879255a25d3c92d5e44e04ae6cec6f"),
            (6, 528, 84.0, "9ecce42647a20130c1f39a5d4cb75743"),
            (7, 600, 84.3, "cbcfe4450ddf6f3ad90b1b398090fe4a"),
        )
    ]
    records += [
        _record(
            f"efficientnet_v2_{size}",
            "efficientnet_v2",
            "Tan, Le (2021), EfficientNetV2: Smaller Models and Faster Training, ICML, arXiv:2104.00298",
            f"EfficientNetV2{size.upper()}",
            preprocessing=RAW,
            top1=top1,
            native_size=native,
            weights=_files(
                f"efficientnet_v2/efficientnetv2-{size}_notop.h5", source=_FROM_GOOGLE, hash=f"md5:{md5}"
            ),
            note=_SCALES_ITSELF,
        )
        for size, native, top1, md5 in (
            ("b0", 224, 78.7, "893217f2bb855e2983157299931e43ff"),
            ("b1", 240, 79.8, "0e80663031ca32d657f9caa404b6ec37"),
            ("b2", 260, 80.5, "1dfe2e7a5d45b6632553a8961ea609eb"),
            ("b3", 300, 82.0, "f6abf7b5849ac99a89b50dd3fd532856"),
            ("s", 384, 83.9, "af0682fb74e8c54910f2d4393339c070"),
            ("m", 480, 85.3, "1b8dc055df72dde80d614482840fe342"),
            ("l", 480, 85.7, "b0b66b5c863aef5b46e8608fe1711615"),
        )
    ]
    return records


def _convnexts() -> list[Backbone]:
    return [
        _record(
            f"convnext_{size}",
            "convnext",
            "Liu et al. (2022), A ConvNet for the 2020s, CVPR, arXiv:2201.03545",
            f"ConvNeXt{function}",
            preprocessing=RAW,
            top1=top1,
            weights=_files(
                f"convnext/convnext_{size}_notop.h5",
                licence="MIT, as published by the authors",
                source="converted from github.com/facebookresearch/ConvNeXt by the Keras project",
                hash=f"sha256:{sha256}",
                trained_on=_IMAGENET if size in ("tiny", "small") else _IMAGENET_21K,
            ),
            note=_SCALES_ITSELF,
        )
        for size, function, top1, sha256 in (
            ("tiny", "Tiny", 81.3, "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1"),
            ("small", "Small", 82.3, "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab"),
            ("base", "Base", 85.3, "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45"),
            ("large", "Large", 86.3, "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd"),
            ("xlarge", "XLarge", 86.7, "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05"),
        )
    ]


APPLICATIONS: tuple[Backbone, ...] = (
    *_resnets(),
    *_vggs(),
    *_mobilenets(),
    *_densenets(),
    *_inceptions(),
    *_nasnets(),
    *_efficientnets(),
    *_convnexts(),
)
