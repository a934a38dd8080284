"""timm's names: MobileNetV2, EfficientNet-Lite0, Xception-65, VGG16 (ResNets: see `torchvision`).

Covered: mobilenetv2_100, efficientnet_lite0 and tf_efficientnet_lite0, xception65, vgg16; and the
EfficientNet-Lite0 of the package efficientnet-lite-pytorch, whose names are its own.

timm's names distinguish neither its own EfficientNet-Lite0 from the one converted from TensorFlow
nor the normalisation of the images; the config.json beside the weights does (`configured`). Without
one, timm's own EfficientNet-Lite0 and the usual normalisation are assumed.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from jaxseg.weights.families.names import Entries, Rule, depths, from_torch
from jaxseg.weights.families.torchvision import VGG16_FEATURES, VGG16_OPTIONS
from jaxseg.weights.imported import NORMALISATION, Imported

NAME = "timm"

_PARTS = {"conv": "conv", "bn": "norm"}
_TIMM = {"padding": "symmetric", "norm_epsilon": 1e-5}
_TENSORFLOW = {"padding": "tf_same", "norm_epsilon": 1e-3}
_HALF = (127.5, 127.5, 127.5)  # timm's 0.5, in 0..255

# The number of blocks in each stage -> the network
_DEPTHS: dict[tuple[int, ...], str] = {
    (1, 2, 3, 4, 3, 3, 1): "mobilenet_v2",
    (1, 2, 2, 3, 3, 4, 1): "efficientnet_lite0",
}
_INVERTED = {
    **{"conv_pw": "expand_conv", "conv_dw": "depthwise_conv", "conv_pwl": "project_conv"},
    **{"bn1": "expand_norm", "bn2": "depthwise_norm", "bn3": "project_norm"},
}
_NOT_EXPANDED = {
    **{"conv_dw": "depthwise_conv", "bn1": "depthwise_norm"},
    **{"conv_pw": "project_conv", "bn2": "project_norm"},
}

_LITE_NORMS = ("expand_norm", "depthwise_norm", "project_norm")
_LITE_PYTORCH: list[Rule] = [
    ("_conv_stem", "encoder/stem_conv"),
    ("_bn0", "encoder/stem_norm"),
    ("_conv_head", "head_conv"),
    ("_bn1", "head_norm"),
    ("_fc", "logits"),
    (
        r"_blocks\.(\d+)\._(expand|depthwise|project)_conv",
        lambda b, part: f"encoder/block{int(b) + 1}/{part}_conv",
    ),
    (
        r"_blocks\.(\d+)\._bn([012])",
        lambda b, i: f"encoder/block{int(b) + 1}/{_LITE_NORMS[int(i)]}",
    ),
]

_XCEPTION65: list[Rule] = [
    (r"stem\.([01])\.(conv|bn)", lambda i, part: f"encoder/stem{int(i) + 1}_{_PARTS[part]}"),
    (
        r"blocks\.(\d+)\.shortcut\.(conv|bn)",
        lambda b, part: f"encoder/block{int(b) + 1}/shortcut_{_PARTS[part]}",
    ),
    (
        r"blocks\.(\d+)\.stack\.conv([123])\.(conv|bn)_dw",
        lambda b, i, part: f"encoder/block{int(b) + 1}/sep{i}/depthwise_{_PARTS[part]}",
    ),
    (
        r"blocks\.(\d+)\.stack\.conv([123])\.(conv|bn)_pw",
        lambda b, i, part: f"encoder/block{int(b) + 1}/sep{i}/pointwise_{_PARTS[part]}",
    ),
    (r"head\.fc", "logits"),
]

_VGG16: list[Rule] = [
    VGG16_FEATURES,
    (r"pre_logits\.fc1", "fc6"),
    (r"pre_logits\.fc2", "fc7"),
    (r"head\.fc", "logits"),
]


def recognise(entries: Entries) -> Imported | None:
    """The entries of a state_dict under our names; None if they are of none of these networks."""
    if "_conv_stem.weight" in entries:
        options = {"backbone": "efficientnet_lite0", **_TENSORFLOW}
        # published once, with this normalisation: nothing is assumed
        normalisation: dict[str, Any] = {"mean": (127.0,) * 3, "std": (128.0,) * 3}
        family = "efficientnet-lite-pytorch efficientnet_lite0"
        return from_torch(
            entries, _LITE_PYTORCH, family, assumed=frozenset(), options=options, **normalisation
        )
    if "conv_stem.weight" in entries:
        blocks = depths(entries, r"blocks\.(\d+)\.(\d+)\.conv_dw")
        if backbone := _DEPTHS.get(blocks):
            family, assumed = f"timm {backbone}", NORMALISATION
            if backbone == "efficientnet_lite0":
                family, assumed = f"{family} or tf_{backbone}", NORMALISATION.union(_TIMM)
            rules, options = _inverted_residuals(blocks), {"backbone": backbone, **_TIMM}
            return from_torch(entries, rules, family, assumed=assumed, options=options)
    if "blocks.20.stack.conv3.conv_pw.weight" in entries and "stem.0.conv.weight" in entries:
        options = {"backbone": "xception65", **_TIMM, "norm_epsilon": 1e-3}
        return from_torch(
            entries, _XCEPTION65, "timm xception65", options=options, mean=_HALF, std=_HALF
        )
    if "features.0.weight" in entries and "pre_logits.fc1.weight" in entries:
        return from_torch(entries, _VGG16, "timm vgg16", options=VGG16_OPTIONS)
    return None


def configured(imported: Imported, config: Mapping[str, Any]) -> Imported:
    """`imported`, with timm's config.json in place of assumptions.

    It tells the architecture and the normalisation of pixels in 0..1. A config.json of anything
    else changes nothing.
    """
    architecture = str(config.get("architecture", ""))
    backbone = imported.options["backbone"]
    if backbone.replace("_", "") not in architecture.replace("_", ""):
        return imported
    if "padding" in imported.assumed:
        options = _TENSORFLOW if architecture.startswith("tf_") else _TIMM
        imported = dataclasses.replace(
            imported,
            family=f"timm {architecture}",
            options={**imported.options, **options},
            assumed=imported.assumed.difference(_TIMM),
        )
    pretrained = config.get("pretrained_cfg") or {}
    if imported.assumed >= NORMALISATION <= pretrained.keys():
        mean, std = (tuple(round(255.0 * x, 6) for x in pretrained[key]) for key in ("mean", "std"))
        imported = dataclasses.replace(
            imported, mean=mean, std=std, assumed=imported.assumed - NORMALISATION
        )
    return imported


def _inverted_residuals(blocks: tuple[int, ...]) -> list[Rule]:
    """Rules for MobileNetV2 and EfficientNet, whose blocks timm numbers within their stages."""

    def layer(stage: str, block: str, name: str) -> str:
        number = sum(blocks[: int(stage)]) + int(block) + 1
        names = _INVERTED if number > 1 else _NOT_EXPANDED
        return f"encoder/block{number}/{names[name]}"

    return [
        ("conv_stem", "encoder/stem_conv"),
        ("bn1", "encoder/stem_norm"),
        (rf"blocks\.(\d+)\.(\d+)\.({'|'.join(map(re.escape, _INVERTED))})", layer),
        ("conv_head", "head_conv"),
        ("bn2", "head_norm"),
        ("classifier", "logits"),
    ]
