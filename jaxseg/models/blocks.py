"""Blocks that the segmentation heads of several papers share."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.ops.layers import Layers


class ConvNormReLU(nn.Module):
    """Convolution ("conv"), batch norm ("norm"), ReLU."""

    features: int
    layers: Layers
    kernel_size: int = 3
    dilation: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
        conv = self.layers.conv(
            self.features, kernel_size=self.kernel_size, dilation=self.dilation, name="conv"
        )
        return nn.relu(self.layers.norm(name="norm")(conv(x)))


class SeparableConvNormReLU(nn.Module):
    """Depthwise 3x3 ("depthwise_conv"), 1x1 ("pointwise_conv"), batch norm ("norm"), ReLU.

    With `depthwise_norm` the depthwise convolution has its own batch norm and ReLU, as in DeepLab's
    released code; segmentation-models-pytorch has none.
    """

    features: int
    layers: Layers
    dilation: int = 1
    depthwise_norm: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
        x = self.layers.depthwise(dilation=self.dilation, name="depthwise_conv")(x)
        if self.depthwise_norm:
            x = nn.relu(self.layers.norm(name="depthwise_norm")(x))
        x = self.layers.conv(self.features, kernel_size=1, name="pointwise_conv")(x)
        return nn.relu(self.layers.norm(name="norm")(x))


def score(
    x: Float[Array, "b h w c"], num_classes: int, layers: Layers, name: str, **options: Any
) -> Float[Array, "b h w k"]:
    """Class scores by a 1x1 convolution `name` of the module that calls this, in float32.

    `options` are those of `ops.conv.Conv`.
    """
    conv = layers.conv(num_classes, kernel_size=1, use_bias=True, name=name, **options)
    return conv(x).astype(jnp.float32)


def fcn_head(
    x: Float[Array, "b h w c"],
    num_classes: int,
    layers: Layers,
    *,
    names: tuple[str, str],
    dropout: float,
    train: bool,
) -> Float[Array, "b h w k"]:
    """3x3 to a quarter of the channels, batch norm, ReLU, dropout, 1x1: torchvision's FCN head.

    `names` are those of the two parts, within the module that calls this.
    """
    block = ConvNormReLU(max(1, x.shape[-1] // 4), layers, name=names[0])
    x = nn.Dropout(dropout, deterministic=not train)(block(x))
    return score(x, num_classes, layers, name=names[1])


def auxiliary_head(
    x: Float[Array, "b h w c"], num_classes: int, layers: Layers, *, train: bool
) -> Float[Array, "b h w k"]:
    """An FCN head "aux", "aux_logits" for an auxiliary loss (PSPNet, Zhao et al. 2017, section 4).

    Its dropout of 0.1 is torchvision's and PSPNet's.
    """
    names = ("aux", "aux_logits")
    return fcn_head(x, num_classes, layers, names=names, dropout=0.1, train=train)
