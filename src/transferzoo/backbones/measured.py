"""What was counted of each backbone. Written by ``python benchmarks/count_backbones.py --write``."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """What can be counted on a network; None where it was not."""

    parameters: int | None = None
    multiply_adds: int | None = None
    feature_channels: int | None = None
    reduction: int | None = None
    last_convolution: str | None = None
    stems: tuple[str, ...] = ("original",)


MEASURED: defaultdict[str, Measured] = defaultdict(
    Measured,
    {
        "alexnet": Measured(3_747_200, 1_076_634_144, 256, 32, "conv5"),
        "convnext_base": Measured(
            87_566_464, 15_353_705_472, 1024, 32, "convnext_base_stage_3_block_2_depthwise_conv"
        ),
        "convnext_large": Measured(
            196_230_336, 34_359_897_600, 1536, 32, "convnext_large_stage_3_block_2_depthwise_conv"
        ),
        "convnext_small": Measured(
            49_454_688, 8_682_944_256, 768, 32, "convnext_small_stage_3_block_2_depthwise_conv"
        ),
        "convnext_tiny": Measured(
            27_820_128, 4_454_763_264, 768, 32, "convnext_tiny_stage_3_block_2_depthwise_conv"
        ),
        "convnext_xlarge": Measured(
            348_147_968, 60_918_982_656, 2048, 32, "convnext_xlarge_stage_3_block_2_depthwise_conv"
        ),
        "densenet121": Measured(
            7_037_504, 2_833_137_664, 1024, 32, "conv5_block16_2_conv", ("original", "stride1")
        ),
        "densenet169": Measured(
            12_642_880, 3_358_179_328, 1664, 32, "conv5_block32_2_conv", ("original", "stride1")
        ),
        "densenet201": Measured(
            18_321_984, 4_289_445_888, 1920, 32, "conv5_block32_2_conv", ("original", "stride1")
        ),
        "efficientnet_b0": Measured(4_049_571, 384_534_752, 1280, 32, "top_conv", ("original", "stride1")),
        "efficientnet_b1": Measured(6_575_239, 685_522_832, 1280, 32, "top_conv", ("original", "stride1")),
        "efficientnet_b2": Measured(7_768_569, 992_153_872, 1408, 32, "top_conv", ("original", "stride1")),
        "efficientnet_b3": Measured(10_783_535, 1_825_605_392, 1536, 32, "top_conv", ("original", "stride1")),
        "efficientnet_b4": Measured(17_673_823, 4_391_979_024, 1792, 32, "top_conv", ("original", "stride1")),
        "efficientnet_b5": Measured(
            28_513_527, 10_264_336_752, 2048, 32, "top_conv", ("original", "stride1")
        ),
        "efficientnet_b6": Measured(
            40_960_143, 19_065_289_536, 2304, 32, "top_conv", ("original", "stride1")
        ),
        "efficientnet_b7": Measured(
            64_097_687, 37_743_324_192, 2560, 32, "top_conv", ("original", "stride1")
        ),
        "efficientnet_v2_b0": Measured(5_919_312, 716_806_176, 1280, 32, "top_conv", ("original", "stride1")),
        "efficientnet_v2_b1": Measured(
            6_931_124, 1_195_539_360, 1280, 32, "top_conv", ("original", "stride1")
        ),
        "efficientnet_v2_b2": Measured(
            8_769_374, 1_696_134_832, 1408, 32, "top_conv", ("original", "stride1")
        ),
        "efficientnet_v2_b3": Measured(
            12_930_622, 3_009_922_816, 1536, 32, "top_conv", ("original", "stride1")
        ),
        "efficientnet_v2_l": Measured(
            117_746_848, 56_078_419_008, 1280, 32, "top_conv", ("original", "stride1")
        ),
        "efficientnet_v2_m": Measured(
            53_150_388, 24_581_180_384, 1280, 32, "top_conv", ("original", "stride1")
        ),
        "efficientnet_v2_s": Measured(
            20_331_360, 8_364_337_152, 1280, 32, "top_conv", ("original", "stride1")
        ),
        "inception_resnet_v2": Measured(
            54_336_736, 13_154_258_016, 1536, 32, "conv_7b", ("original", "stride1")
        ),
        "inception_v3": Measured(21_802_784, 5_711_168_096, 2048, 32, None, ("original", "stride1")),
        "mobilenet": Measured(3_228_864, 567_716_352, 1024, 32, "conv_pw_13", ("original", "stride1")),
        "mobilenet_025": Measured(218_544, 40_774_272, 256, 32, "conv_pw_13", ("original", "stride1")),
        "mobilenet_050": Measured(829_536, 148_985_088, 512, 32, "conv_pw_13", ("original", "stride1")),
        "mobilenet_075": Measured(1_832_976, 324_632_448, 768, 32, "conv_pw_13", ("original", "stride1")),
        "mobilenet_v2": Measured(2_257_984, 299_494_272, 1280, 32, "Conv_1", ("original", "stride1")),
        "mobilenet_v2_035": Measured(410_208, 58_005_808, 1280, 32, "Conv_1", ("original", "stride1")),
        "mobilenet_v2_050": Measured(706_224, 95_851_840, 1280, 32, "Conv_1", ("original", "stride1")),
        "mobilenet_v2_075": Measured(1_382_064, 207_789_792, 1280, 32, "Conv_1", ("original", "stride1")),
        "mobilenet_v2_130": Measured(3_766_048, 507_710_560, 1664, 32, "Conv_1", ("original", "stride1")),
        "mobilenet_v2_140": Measured(4_363_712, 580_403_824, 1792, 32, "Conv_1", ("original", "stride1")),
        "mobilenet_v3_large": Measured(2_996_352, 214_080_960, 960, 32, "conv_1", ("original", "stride1")),
        "mobilenet_v3_large_075": Measured(
            1_808_736, 152_359_024, 720, 32, "conv_1", ("original", "stride1")
        ),
        "mobilenet_v3_large_minimalistic": Measured(
            1_437_608, 206_627_904, 960, 32, "conv_1", ("original", "stride1")
        ),
        "mobilenet_v3_small": Measured(939_120, 54_896_576, 576, 32, "conv_1", ("original", "stride1")),
        "mobilenet_v3_small_075": Measured(583_160, 41_932_976, 432, 32, "conv_1", ("original", "stride1")),
        "mobilenet_v3_small_minimalistic": Measured(
            441_000, 50_674_624, 576, 32, "conv_1", ("original", "stride1")
        ),
        "nasnet_large": Measured(
            84_916_818, 23_779_382_658, 4032, 32, "separable_conv_2_normal_left5_18", ("original", "stride1")
        ),
        "nasnet_mobile": Measured(
            4_269_716, 562_582_816, 1056, 32, "separable_conv_2_normal_left5_12", ("original", "stride1")
        ),
        "resnet101": Measured(
            42_658_176, 7_568_146_432, 2048, 32, "conv5_block3_3_conv", ("original", "stride1")
        ),
        "resnet101_v2": Measured(
            42_626_560, 7_192_428_544, 2048, 32, "conv5_block3_3_conv", ("original", "stride1")
        ),
        "resnet152": Measured(
            58_370_944, 11_280_367_616, 2048, 32, "conv5_block3_3_conv", ("original", "stride1")
        ),
        "resnet152_v2": Measured(
            58_331_648, 10_904_649_728, 2048, 32, "conv5_block3_3_conv", ("original", "stride1")
        ),
        "resnet20": Measured(270_448, 40_550_400, 64, 4, "group3_block3_conv2"),
        "resnet32": Measured(465_776, 68_861_952, 64, 4, "group3_block5_conv2"),
        "resnet44": Measured(661_104, 97_173_504, 64, 4, "group3_block7_conv2"),
        "resnet50": Measured(
            23_587_712, 3_855_925_248, 2048, 32, "conv5_block3_3_conv", ("original", "stride1")
        ),
        "resnet50_v2": Measured(
            23_564_800, 3_480_207_360, 2048, 32, "conv5_block3_3_conv", ("original", "stride1")
        ),
        "resnet56": Measured(856_432, 125_485_056, 64, 4, "group3_block9_conv2"),
        "vgg16": Measured(14_714_688, 15_346_630_656, 512, 32, "block5_conv3", ("original", "stride1")),
        "vgg19": Measured(20_024_384, 19_508_428_800, 512, 32, "block5_conv4", ("original", "stride1")),
        "wide_resnet16_4": Measured(2_749_936, 392_609_792, 256, 4, "group3_block2_conv2"),
        "wide_resnet28_10": Measured(36_490_736, 5_243_322_368, 640, 4, "group3_block4_conv2"),
        "xception": Measured(
            20_861_480, 8_355_355_496, 2048, 32, "block14_sepconv2", ("original", "stride1")
        ),
    },
)
