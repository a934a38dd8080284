"""segmentation-models-pytorch's names: Unet and DeepLabV3Plus on ResNet-18, 34, 50 and 101.

A file does not tell the options: the package's defaults are taken. Those of DeepLabV3Plus are
output stride 16, rates 12, 24, 36 and a separable ASPP; all blocks of a dilated stage have its
rate, and corners are aligned.
"""

from typing import Any

from jaxseg.weights.families.names import Entries, Rule, from_torch, prefixed
from jaxseg.weights.families.torchvision import RESNET, resnet_variant
from jaxseg.weights.imported import Imported

NAME = "segmentation-models-pytorch"

_PARTS = {"0": "conv", "1": "norm"}
_SEPARABLE = {"0": "depthwise_conv", "1": "pointwise_conv"}

_UNET: list[Rule] = [
    *prefixed(r"encoder\.", RESNET),
    (
        r"decoder\.blocks\.([0-4])\.conv([12])\.([01])",
        lambda block, i, part: f"up{4 - int(block)}/{_PARTS[part]}{i}",
    ),
    (r"segmentation_head\.0", "logits"),
]
_DEEPLABV3PLUS: list[Rule] = [
    *prefixed(r"encoder\.", RESNET),
    (r"decoder\.aspp\.0\.convs\.0\.([01])", lambda part: f"aspp/conv1x1/{_PARTS[part]}"),
    (
        r"decoder\.aspp\.0\.convs\.([123])\.0\.([01])",
        lambda i, part: f"aspp/atrous{i}/{_SEPARABLE[part]}",
    ),
    (r"decoder\.aspp\.0\.convs\.([123])\.1", r"aspp/atrous\1/norm"),
    (r"decoder\.aspp\.0\.convs\.4\.1", "aspp/image_pooling/conv"),
    (r"decoder\.aspp\.0\.convs\.4\.2", "aspp/image_pooling/norm"),
    (r"decoder\.aspp\.0\.project\.([01])", lambda part: f"aspp/project/{_PARTS[part]}"),
    (r"decoder\.aspp\.1\.([01])", lambda part: f"head/{_SEPARABLE[part]}"),
    (r"decoder\.aspp\.2", "head/norm"),
    (r"decoder\.block1\.([01])", lambda part: f"low_level/{_PARTS[part]}"),
    (r"decoder\.block2\.0\.([01])", lambda part: f"decoder1/{_SEPARABLE[part]}"),
    (r"decoder\.block2\.1", "decoder1/norm"),
    (r"segmentation_head\.0", "logits"),
]


def recognise(entries: Entries) -> Imported | None:
    """The entries of a state_dict under our names; None if they are of neither network."""
    variant = resnet_variant(entries, "encoder.")
    if variant is None:
        return None
    options: dict[str, Any] = {
        "backbone": variant,
        "padding": "symmetric",
        "norm_epsilon": 1e-5,
    }
    if "decoder.blocks.0.conv1.0.weight" in entries:
        options["upsampling"] = "nearest"
        return from_torch(entries, _UNET, f"smp unet {variant}", "unet_resnet", options=options)
    if "decoder.aspp.0.convs.1.0.1.weight" in entries:
        options |= {
            "output_stride": 16,
            "multi_grid": (),
            "first_block_rate": "own",
            "atrous_rates": (12, 24, 36),
            "separable": True,
            "depthwise_norm": False,
            "head_conv": True,
            "decoder_depth": 1,
            "upsampling": "bilinear",
            "corners": "aligned",
        }
        return from_torch(
            entries,
            _DEEPLABV3PLUS,
            f"smp deeplabv3plus {variant}",
            "deeplabv3plus",
            options=options,
        )
    return None
