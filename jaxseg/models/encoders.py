"""The encoders (backbones) by name: `build("resnet50", layers, output_stride=16)`.

An encoder maps images to a dict of features: "stem" at stride 2, "stage1" at 4, "stage2" at 8,
"stage3" at 16 and "stage4", always the last, at 32; none above its output stride.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxseg.errors import UserError, suggest
from jaxseg.models import efficientnet_lite, mobilenet_v2, resnet, xception
from jaxseg.models.efficientnet_lite import EfficientNetLite
from jaxseg.models.mobilenet_v2 import MobileNetV2
from jaxseg.models.resnet import ResNet
from jaxseg.models.vgg import VGG16
from jaxseg.models.xception import AlignedXception, Xception
from jaxseg.ops.layers import Layers, bind

ENCODERS: dict[str, type[nn.Module]] = {
    **dict.fromkeys(resnet.VARIANTS, ResNet),
    **dict.fromkeys(mobilenet_v2.VARIANTS, MobileNetV2),
    **dict.fromkeys(efficientnet_lite.VARIANTS, EfficientNetLite),
    **dict.fromkeys(xception.VARIANTS, Xception),
    **dict.fromkeys(xception.ALIGNED_VARIANTS, AlignedXception),
    "vgg16": VGG16,
}
# Options that only some encoders have, with the value that the others accept.
NEUTRAL = {
    "multi_grid": (),
    "stages": 4,
    "rounding": "ceil",
    "batch_norm": False,
}
# Others accept either value: in all their sources the strided block keeps the previous rate.
_RESNET_ONLY = "first_block_rate"


def build(backbone: str, layers: Layers, **options: Any) -> nn.Module:
    """The encoder, its parameters under "encoder"; call it inside a model.

    `options`: `output_stride` (32) and `width_multiplier` (1.0) of them all; `multi_grid`,
    `stages`, `rounding` and `batch_norm` of those whose class has them; `first_block_rate` of
    ResNet. Raises UserError on an unknown backbone or value, and where the encoder lacks an option
    that is not neutral.
    """
    if layers.padding == "valid":
        raise UserError("padding is 'valid', which no backbone has: use 'symmetric' or 'tf_same'")
    return _maker(backbone, **options)(layers=layers, name="encoder")


def options_of(model: nn.Module) -> dict[str, Any]:
    """The options of `build` that are fields of `model`, with their values there."""
    names = ("output_stride", "width_multiplier", *NEUTRAL, _RESNET_ONLY)
    return {name: getattr(model, name) for name in names if hasattr(model, name)}


def check_options(backbone: str, **options: Any) -> None:
    """Raise what `build` would: for a model's __post_init__, before anything is traced."""
    layers = bind(train=False, dtype=jnp.float32)
    _maker(backbone, **options)(layers=layers, parent=None)


def _maker(
    backbone: str, output_stride: int = 32, width_multiplier: float = 1.0, **options: Any
) -> Callable[..., nn.Module]:
    """The encoder's class with its options bound."""
    if backbone not in ENCODERS:
        raise UserError(f"no backbone {backbone!r}: {suggest(backbone, ENCODERS)}")
    if not width_multiplier > 0:  # so that NaN is none either
        raise UserError(f"width_multiplier is {width_multiplier}, expected more than 0")
    encoder = ENCODERS[backbone]
    for option, value in options.items():
        lacks = option not in encoder.__dataclass_fields__ and option != _RESNET_ONLY
        if lacks and value != NEUTRAL[option]:
            raise UserError(
                f"{option} is {value!r}, but {backbone} has no such option: "
                f"leave it at {NEUTRAL[option]!r}, or take another backbone"
            )
    own = {k: v for k, v in options.items() if k in encoder.__dataclass_fields__}
    if backbone == "vgg16":
        if output_stride != 32:
            raise UserError(f"output_stride is {output_stride!r}, expected 32: vgg16 has no other")
        return partial(VGG16, width=max(1, round(64 * width_multiplier)), **own)
    return partial(
        encoder, backbone, output_stride=output_stride, width_multiplier=width_multiplier, **own
    )
