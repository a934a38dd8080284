"""MobileNetV2 (Sandler et al., CVPR 2018, table 2) as an encoder, with atrous convolution.

Past the output stride, blocks keep their resolution and the depthwise convolutions after the stride
are dilated instead (see `atrous`), as in the authors' DeepLab (section 6.3).
"""

from typing import NamedTuple

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.models.atrous import check_output_stride, replace_strides
from jaxseg.ops.layers import Layers


class Row(NamedTuple):
    """One row of the paper's table: equal blocks, the first with the stride."""

    expansion: int
    features: int
    blocks: int
    stride: int
    kernel_size: int = 3


VARIANTS = {
    "mobilenet_v2": (
        Row(1, 16, 1, 1),
        Row(6, 24, 2, 2),
        Row(6, 32, 3, 2),
        Row(6, 64, 4, 2),
        Row(6, 96, 3, 1),
        Row(6, 160, 3, 2),
        Row(6, 320, 1, 1),
    )
}


def scaled(channels: int, width_multiplier: float) -> int:
    """The multiple of 8 nearest to the product, at least 8 and at least nine tenths of it."""
    exact = channels * width_multiplier
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * exact else rounded


class InvertedResidual(nn.Module):
    """1x1 to `expansion` times the channels, depthwise, 1x1 to `features` without activation.

    `skip` adds the input, if it has as many channels.
    """

    features: int
    expansion: int
    kernel_size: int
    stride: int
    dilation: int
    skip: bool
    layers: Layers

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        conv, depthwise, norm = self.layers.conv, self.layers.depthwise, self.layers.norm
        shortcut = x
        if self.expansion > 1:
            x = conv(self.expansion * x.shape[-1], kernel_size=1, name="expand_conv")(x)
            x = nn.relu6(norm(name="expand_norm")(x))
        x = depthwise(self.kernel_size, self.stride, self.dilation, name="depthwise_conv")(x)
        x = nn.relu6(norm(name="depthwise_norm")(x))
        x = norm(name="project_norm")(conv(self.features, kernel_size=1, name="project_conv")(x))
        return x + shortcut if self.skip and x.shape[-1] == shortcut.shape[-1] else x


def inverted_residuals(
    images: Float[Array, "b h w c"],
    rows: tuple[Row, ...],
    layers: Layers,
    stem_features: int,
    output_stride: int,
    width_multiplier: float,
) -> dict[str, Array]:
    """The stem and "block1", "block2", ... of the rows, made in the calling module.

    The endpoint of a stride is the last block before the next one; "stem" is the first convolution.
    """
    x = layers.conv(stem_features, stride=2, name="stem_conv")(images)
    x = nn.relu6(layers.norm(name="stem_norm")(x))
    out = {"stem": x}
    blocks = [(row, row.stride if i == 0 else 1) for row in rows for i in range(row.blocks)]
    replaced = replace_strides([stride for _, stride in blocks], output_stride)
    stage = 0
    for number, (row, full_stride) in enumerate(blocks, start=1):
        stride, dilation = replaced[number - 1]
        x = layers.block(InvertedResidual)(
            scaled(row.features, width_multiplier),
            row.expansion,
            row.kernel_size,
            stride,
            dilation,
            skip=full_stride == 1,
            layers=layers,
            name=f"block{number}",
        )(x)
        stage += full_stride == 2
        if stage > 0:
            out[f"stage{stage}"] = x
    return out


class MobileNetV2(nn.Module):
    """Endpoints "stem" and "stage1".."stage4", which are block3, block6, block13 and block17.

    Channels 32, 24, 32, 96, 320; strides 2, 4, 8, 16, 32, none above `output_stride` (8, 16 or
    32). `width_multiplier` scales the channels, rounded to multiples of 8.
    """

    variant: str
    layers: Layers
    output_stride: int = 32
    width_multiplier: float = 1.0

    def __post_init__(self):
        check_output_stride(self.output_stride)
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Float[Array, "b h w c"]) -> dict[str, Array]:
        rows, stem = VARIANTS[self.variant], scaled(32, self.width_multiplier)
        return inverted_residuals(
            images, rows, self.layers, stem, self.output_stride, self.width_multiplier
        )
