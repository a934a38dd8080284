"""DeepLabv3+ (Chen et al., ECCV 2018) on a ResNet.

The encoder is DeepLabv3's (Chen et al. 2017, section 3.3): atrous ResNet features, then atrous
spatial pyramid pooling. The decoder (2018, section 3.1 and tables 1, 2) joins features of stride 4.
Convolutions are dense, as in the paper's ResNet results (table 3); its separable ones go with
Xception.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.models import resnet
from jaxseg.ops.conv import Conv
from jaxseg.ops.norm import batch_norm
from jaxseg.ops.resize import check_corners, resize


class ConvNormReLU(nn.Module):
    """Convolution ("conv"), batch norm ("norm"), ReLU."""

    features: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    kernel_size: int = 3
    dilation: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
        conv = self.conv(
            self.features, kernel_size=self.kernel_size, dilation=self.dilation, name="conv"
        )
        return nn.relu(self.norm(name="norm")(conv(x)))


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: a 1x1, a 3x3 at each rate and image pooling, concatenated.

    In training, the batch norm after image pooling sees one value an image. A batch of one image
    makes it output its bias and drives its running variance to zero, as in the authors' code: train
    with larger batches.
    """

    features: int
    rates: tuple[int, ...]
    block: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
        branches = [self.block(self.features, kernel_size=1, name="conv1x1")(x)]
        for i, rate in enumerate(self.rates, start=1):
            branches.append(self.block(self.features, dilation=rate, name=f"atrous{i}")(x))
        pooled = x.mean(axis=(1, 2), keepdims=True, dtype=jnp.float32).astype(x.dtype)
        pooled = self.block(self.features, kernel_size=1, name="image_pooling")(pooled)
        branches.append(jnp.broadcast_to(pooled, branches[0].shape))
        x = jnp.concatenate(branches, axis=-1)
        return self.block(self.features, kernel_size=1, name="project")(x)


class DeepLabV3Plus(nn.Module):
    """Logits at stride 4; endpoints the backbone's, "aspp", "decoder", and "aux_logits" if asked.

    - `backbone`: resnet18, 34, 50 or 101, `width` 64 the usual one; `output_stride` of its last
      stage: 16, 8 (finer, four times the work) or 32; `multi_grid` as in `resnet.ResNet`.
    - `atrous_rates` are those at output stride 16: twice as much is used at 8, half at 32, so that
      they span the same part of the image. () leaves the 1x1 and image pooling.
    - `dropout` after ASPP and in the auxiliary head: 0.1 is the authors' code's, the paper's text
      has none.
    - `aux_head`: a fully convolutional head on "stage3" for an auxiliary loss (as PSPNet, Zhao et
      al. 2017, section 4), at that stage's stride.
    - `corners` of the upsampling in the decoder (see `ops.resize`).
    """

    num_classes: int
    backbone: str = "resnet50"
    width: int = 64
    output_stride: int = 16
    multi_grid: tuple[int, ...] = ()
    atrous_rates: tuple[int, ...] = (6, 12, 18)
    aspp_channels: int = 256
    low_level_channels: int = 48
    decoder_channels: int = 256
    dropout: float = 0.1
    aux_head: bool = False
    corners: str = "half_pixel"
    dtype: Any = jnp.float32
    axis_name: str | None = None

    def __post_init__(self):
        resnet.check_options(self.backbone, self.output_stride, self.multi_grid)
        check_corners(self.corners)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool
    ) -> tuple[Float[Array, "b h2 w2 k"], dict[str, Array]]:
        conv = partial(Conv, dtype=self.dtype)
        norm = batch_norm(train=train, dtype=self.dtype, axis_name=self.axis_name)
        block = partial(ConvNormReLU, conv=conv, norm=norm)
        score = partial(conv, self.num_classes, kernel_size=1, use_bias=True)
        dropout = nn.Dropout(self.dropout, deterministic=not train)
        encoder = resnet.ResNet(
            self.backbone,
            self.output_stride,
            self.multi_grid,
            self.width,
            self.dtype,
            self.axis_name,
            name="encoder",
        )

        out = encoder(images, train=train)
        rates = tuple(max(1, rate * 16 // self.output_stride) for rate in self.atrous_rates)
        x = out["aspp"] = ASPP(self.aspp_channels, rates, block, name="aspp")(out["stage4"])
        x = dropout(x)

        low = block(self.low_level_channels, kernel_size=1, name="low_level")(out["stage1"])
        x = resize(x, (low.shape[1], low.shape[2]), corners=self.corners)
        x = jnp.concatenate([x, low], axis=-1)
        x = block(self.decoder_channels, name="decoder1")(x)
        x = out["decoder"] = block(self.decoder_channels, name="decoder2")(x)
        logits = score(name="logits")(x).astype(jnp.float32)

        if self.aux_head:
            aux = out["stage3"]
            aux = dropout(block(aux.shape[-1] // 4, name="aux")(aux))
            out["aux_logits"] = score(name="aux_logits")(aux).astype(jnp.float32)
        return logits, out


Model = DeepLabV3Plus
