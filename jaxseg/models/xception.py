"""Xception as an encoder: Chollet's, and the modified aligned one of DeepLabv3+.

"xception" (Chollet, CVPR 2017, figure 5, as in Keras): a block is separable convolutions, each
followed by one batch norm, and a 3x3 max pooling with the stride. Its stem is not padded: features
leave out three pixels on every side, so that logits resized to the image lie up to three pixels too
far out. For segmentation take "xception65". Published weights need padding "tf_same" and
norm_epsilon 1e-3.

"xception65" (Chen et al., ECCV 2018, figure 4): three separable convolutions a block, the last of
which has the stride, a batch norm after the depthwise convolution too, and a middle flow of sixteen
blocks. Published weights need norm_epsilon 1e-3.

Past the output stride what had the stride (pooling or convolution) sees its input at the old rate,
and what follows is dilated (see `atrous`).
"""

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.models.atrous import check_output_stride, replace_strides
from jaxseg.ops.layers import Layers
from jaxseg.ops.pooling import max_pool_3x3

# (channels of the separable convolutions, stride) of each block
VARIANTS = {
    "xception": (
        ((128, 128), 2),
        ((256, 256), 2),
        ((728, 728), 2),
        *[((728, 728, 728), 1)] * 8,
        ((728, 1024), 2),
        ((1536, 2048), 1),
    )
}
ALIGNED_VARIANTS = {
    "xception65": (
        ((128, 128, 128), 2),
        ((256, 256, 256), 2),
        ((728, 728, 728), 2),
        *[((728, 728, 728), 1)] * 16,
        ((728, 1024, 1024), 2),
        ((1536, 1536, 2048), 1),
    )
}


def _scaled(channels: tuple[int, ...], width_multiplier: float) -> tuple[int, ...]:
    return tuple(max(1, round(c * width_multiplier)) for c in channels)


def _stem(images: Array, layers: Layers, width_multiplier: float, padding: str) -> Array:
    """Two 3x3 convolutions, the first with stride 2, made in the calling module."""
    first, second = _scaled((32, 64), width_multiplier)
    x = layers.conv(first, stride=2, padding=padding, name="stem1_conv")(images)
    x = nn.relu(layers.norm(name="stem1_norm")(x))
    x = layers.conv(second, padding=padding, name="stem2_conv")(x)
    return nn.relu(layers.norm(name="stem2_norm")(x))


class SeparableConv(nn.Module):
    """Depthwise 3x3 and 1x1 convolution, without anything between them."""

    features: int
    dilation: int
    layers: Layers

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
        x = self.layers.depthwise(dilation=self.dilation, name="depthwise_conv")(x)
        return self.layers.conv(self.features, kernel_size=1, name="pointwise_conv")(x)


class Block(nn.Module):
    """Chollet's: ReLU, separable convolution, batch norm, as often as there are channels given.

    The input is added; a `strided` block ends in the pooling and projects it by a 1x1. The `last`
    block adds nothing and has its ReLUs after the batch norms.
    """

    channels: tuple[int, ...]
    strided: bool
    last: bool
    stride: int
    dilation: int
    layers: Layers

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        layers, shortcut = self.layers, x
        for i, features in enumerate(self.channels, start=1):
            x = x if self.last else nn.relu(x)
            x = SeparableConv(features, self.dilation, layers, name=f"sep{i}")(x)
            x = layers.norm(name=f"sep{i}_norm")(x)
            x = nn.relu(x) if self.last else x
        if self.last:
            return x
        if self.strided:
            x = max_pool_3x3(x, self.stride, self.dilation, layers.padding)
            project = layers.conv(
                x.shape[-1], kernel_size=1, stride=self.stride, name="shortcut_conv"
            )
            shortcut = layers.norm(name="shortcut_norm")(project(shortcut))
        return x + shortcut


class Xception(nn.Module):
    """Endpoints "stem" and "stage1".."stage4", which are block2, block3, block12 and block14.

    Channels 64, 128, 256, 728, 2048; strides 2, 4, 8, 16, 32, none above `output_stride` (8, 16 or
    32). Images of at least 7x7 pixels.
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
        layers, rows = self.layers, VARIANTS[self.variant]
        h, w = images.shape[1:3]
        if min(h, w) < 7:
            raise UserError(
                f"xception got an image of {h}x{w}, expected at least 7x7: its stem is not padded"
            )
        x = _stem(images, layers, self.width_multiplier, padding="valid")
        out, stage = {"stem": x}, 0
        replaced = replace_strides([stride for _, stride in rows], self.output_stride)
        for number, (channels, full_stride) in enumerate(
            rows, start=2
        ):  # the stem is Keras's block 1
            stride, dilation = replaced[number - 2]
            x = layers.block(Block)(
                _scaled(channels, self.width_multiplier),
                strided=full_stride > 1,
                last=number == len(rows) + 1,
                stride=stride,
                dilation=dilation,
                layers=layers,
                name=f"block{number}",
            )(x)
            stage += full_stride > 1
            out[f"stage{stage}"] = x
        return out


class AlignedSeparableConv(nn.Module):
    """Depthwise 3x3, norm, 1x1, norm; one ReLU before, or (`inside`) one after each norm."""

    features: int
    stride: int
    dilation: int
    inside: bool
    layers: Layers

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        layers = self.layers
        depthwise = layers.depthwise(
            stride=self.stride, dilation=self.dilation, name="depthwise_conv"
        )
        x = depthwise(x if self.inside else nn.relu(x))
        x = layers.norm(name="depthwise_norm")(x)
        x = layers.conv(self.features, kernel_size=1, name="pointwise_conv")(
            nn.relu(x) if self.inside else x
        )
        x = layers.norm(name="pointwise_norm")(x)
        return nn.relu(x) if self.inside else x


class AlignedBlock(nn.Module):
    """Three separable convolutions, the stride in the third; also returns the third's input.

    The input is added, in a `strided` block projected by a 1x1. The `last` block
    adds nothing and has its ReLUs inside the separable convolutions.
    """

    channels: tuple[int, ...]
    strided: bool
    last: bool
    stride: int
    dilations: tuple[int, ...]
    layers: Layers

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w i"]
    ) -> tuple[Float[Array, "b h2 w2 o"], Float[Array, "b h w o2"]]:
        shortcut = before_stride = x
        convs = zip(self.channels, (1, 1, self.stride), self.dilations, strict=True)
        for i, conv in enumerate(convs, start=1):
            before_stride = x
            x = AlignedSeparableConv(*conv, self.last, self.layers, name=f"sep{i}")(x)
        if self.last:
            return x, before_stride
        if self.strided:
            project = self.layers.conv(
                x.shape[-1], kernel_size=1, stride=self.stride, name="shortcut_conv"
            )
            shortcut = self.layers.norm(name="shortcut_norm")(project(shortcut))
        return x + shortcut, before_stride


class AlignedXception(nn.Module):
    """Endpoints "stem" and "stage1".."stage4", channels 64, 256, 728, 728, 2048.

    Strides 2, 4, 8, 16, 32, none above `output_stride` (8, 16 or 32). "stage1" and "stage2" are
    taken before the strided convolutions of block2 and block3 (and before its ReLU), as the
    authors' DeepLabv3+ does for its decoder; "stage3" is the middle flow's output, "stage4" the
    exit flow's. `multi_grid` multiplies the dilations of the last block's three convolutions.
    """

    variant: str
    layers: Layers
    output_stride: int = 32
    multi_grid: tuple[int, ...] = ()
    width_multiplier: float = 1.0

    def __post_init__(self):
        check_output_stride(self.output_stride)
        if self.multi_grid and len(self.multi_grid) != 3:
            raise UserError(
                f"multi_grid {self.multi_grid} has {len(self.multi_grid)} rates, but the last "
                f"block of {self.variant} has 3 convolutions: give 3 rates, or () for all ones"
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Float[Array, "b h w c"]) -> dict[str, Array]:
        layers, rows = self.layers, ALIGNED_VARIANTS[self.variant]
        x = _stem(images, layers, self.width_multiplier, layers.padding)
        out = {"stem": x}
        replaced = replace_strides([stride for _, stride in rows], self.output_stride)
        for number, (channels, full_stride) in enumerate(rows, start=1):
            (stride, dilation), last = replaced[number - 1], number == len(rows)
            grid = self.multi_grid if self.multi_grid and last else (1, 1, 1)
            x, before_stride = layers.block(AlignedBlock)(
                _scaled(channels, self.width_multiplier),
                strided=full_stride > 1,
                last=last,
                stride=stride,
                dilations=tuple(dilation * rate for rate in grid),
                layers=layers,
                name=f"block{number}",
            )(x)
            if number in (2, 3):
                out[f"stage{number - 1}"] = before_stride
            elif number == len(rows) - 2:
                out["stage3"] = x
        out["stage4"] = x
        return out
