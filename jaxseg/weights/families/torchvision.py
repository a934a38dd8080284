"""torchvision's names: ResNet (timm's too), VGG16 and MobileNetV2 as classifiers, FCN, DeepLabv3.

Covered: resnet18, 34, 50, 101; vgg16; mobilenet_v2; segmentation.fcn_resnet50, fcn_resnet101,
deeplabv3_resnet50, deeplabv3_resnet101, each with or without its auxiliary head.
"""

import re
from typing import Any

from jaxseg.models import resnet
from jaxseg.weights.families.names import Entries, Rule, depths, from_torch, prefixed
from jaxseg.weights.imported import Imported

NAME = "torchvision"

_PARTS = {"conv": "conv", "bn": "norm", "0": "conv", "1": "norm"}
_PADDED = {"padding": "symmetric", "norm_epsilon": 1e-5}

RESNET: list[Rule] = [
    ("conv1", "encoder/stem_conv"),
    ("bn1", "encoder/stem_norm"),
    (
        r"layer(\d)\.(\d+)\.(conv|bn)(\d)",
        lambda s, b, part, i: f"encoder/stage{s}_block{int(b) + 1}/{_PARTS[part]}{i}",
    ),
    (
        r"layer(\d)\.(\d+)\.downsample\.([01])",
        lambda s, b, part: f"encoder/stage{s}_block{int(b) + 1}/shortcut_{_PARTS[part]}",
    ),
]

# torchvision numbers the ReLUs and poolings in `features` too.
_VGG_CONVS = {
    **{"0": "1_1", "2": "1_2", "5": "2_1", "7": "2_2", "10": "3_1", "12": "3_2", "14": "3_3"},
    **{"17": "4_1", "19": "4_2", "21": "4_3", "24": "5_1", "26": "5_2", "28": "5_3"},
}
VGG16_FEATURES: Rule = (
    rf"features\.({'|'.join(_VGG_CONVS)})",
    lambda i: f"encoder/conv{_VGG_CONVS[i]}",
)
VGG16_OPTIONS = {"backbone": "vgg16", "rounding": "floor", "fc_padding": "valid"}
_VGG16: list[Rule] = [
    VGG16_FEATURES,
    (r"classifier\.0", "fc6"),
    (r"classifier\.3", "fc7"),
    (r"classifier\.6", "logits"),
]

_MOBILENET_V2: list[Rule] = [
    (r"features\.0\.([01])", lambda part: f"encoder/stem_{_PARTS[part]}"),
    (r"features\.18\.([01])", lambda part: f"head_{_PARTS[part]}"),
    # the first block has no expansion
    (r"features\.1\.conv\.0\.([01])", lambda part: f"encoder/block1/depthwise_{_PARTS[part]}"),
    (r"features\.1\.conv\.1", "encoder/block1/project_conv"),
    (r"features\.1\.conv\.2", "encoder/block1/project_norm"),
    (
        r"features\.(\d+)\.conv\.0\.([01])",
        lambda b, part: f"encoder/block{b}/expand_{_PARTS[part]}",
    ),
    (
        r"features\.(\d+)\.conv\.1\.([01])",
        lambda b, part: f"encoder/block{b}/depthwise_{_PARTS[part]}",
    ),
    (r"features\.(\d+)\.conv\.2", r"encoder/block\1/project_conv"),
    (r"features\.(\d+)\.conv\.3", r"encoder/block\1/project_norm"),
    (r"classifier\.1", "logits"),
]

_AUXILIARY: list[Rule] = [
    (r"aux_classifier\.0", "aux/conv"),
    (r"aux_classifier\.1", "aux/norm"),
    (r"aux_classifier\.4", "aux_logits"),
]
_FCN: list[Rule] = [
    *prefixed(r"backbone\.", RESNET),
    (r"classifier\.0", "head/conv"),
    (r"classifier\.1", "head/norm"),
    (r"classifier\.4", "logits"),
    *_AUXILIARY,
]
_DEEPLABV3: list[Rule] = [
    *prefixed(r"backbone\.", RESNET),
    (r"classifier\.0\.convs\.0\.([01])", lambda part: f"aspp/conv1x1/{_PARTS[part]}"),
    (
        r"classifier\.0\.convs\.([123])\.([01])",
        lambda i, part: f"aspp/atrous{i}/{_PARTS[part]}",
    ),
    (r"classifier\.0\.convs\.4\.1", "aspp/image_pooling/conv"),
    (r"classifier\.0\.convs\.4\.2", "aspp/image_pooling/norm"),
    (r"classifier\.0\.project\.([01])", lambda part: f"aspp/project/{_PARTS[part]}"),
    (r"classifier\.1", "head/conv"),
    (r"classifier\.2", "head/norm"),
    (r"classifier\.4", "logits"),
    *_AUXILIARY,
]


def resnet_variant(entries: Entries, prefix: str = "") -> str | None:
    """The ResNet that these entries are of; None if it is not one of ours."""
    bottleneck = f"{prefix}layer1.0.conv3.weight" in entries
    blocks = depths(entries, re.escape(prefix) + r"layer(\d)\.(\d+)\.conv1")
    wanted = (bottleneck, True, blocks)  # the stride is in the 3x3
    return next((name for name, row in resnet.VARIANTS.items() if row == wanted), None)


def recognise(entries: Entries) -> Imported | None:
    """The entries of a state_dict under our names; None if they are of none of these networks."""
    if "backbone.conv1.weight" in entries and "classifier.4.weight" in entries:
        return _segmentation(entries)
    if variant := resnet_variant(entries):
        rules: list[Rule] = [*RESNET, ("fc", "logits")]
        options = {"backbone": variant, **_PADDED}
        return from_torch(entries, rules, f"torchvision or timm {variant}", options=options)
    if "features.18.0.weight" in entries:
        options = {"backbone": "mobilenet_v2", **_PADDED}
        return from_torch(entries, _MOBILENET_V2, "torchvision mobilenet_v2", options=options)
    if {"features.0.weight", "features.28.weight"} <= entries.keys() and not any(
        name.startswith("pre_logits") for name in entries
    ):
        return from_torch(_unflattened(entries), _VGG16, "torchvision vgg16", options=VGG16_OPTIONS)
    return None


def _segmentation(entries: Entries) -> Imported | None:
    variant = resnet_variant(entries, "backbone.")
    if variant is None:
        return None
    options: dict[str, Any] = {
        "backbone": variant,
        "output_stride": 8,
        "multi_grid": (),
        "first_block_rate": "previous",
        "aux_head": "aux_classifier.4.weight" in entries,
        "corners": "half_pixel",
        **_PADDED,
    }
    if "classifier.0.convs.0.0.weight" not in entries:
        return from_torch(
            entries, _FCN, f"torchvision fcn_{variant}", "fcn_resnet", options=options
        )
    options |= {"head_conv": True, "atrous_rates": (6, 12, 18)}  # 12, 24, 36 at stride 8
    return from_torch(
        entries, _DEEPLABV3, f"torchvision deeplabv3_{variant}", "deeplabv3", options=options
    )


def _unflattened(entries: Entries) -> Entries:
    """fc6 is a matrix over flattened 7x7 features, channels first: [o, c * 49] -> [o, c, 7, 7]."""
    name = "classifier.0.weight"
    if name not in entries or entries[name].ndim != 2 or entries[name].shape[1] % 49:
        return entries
    return {**entries, name: entries[name].reshape(len(entries[name]), -1, 7, 7)}
