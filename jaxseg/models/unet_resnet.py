"""U-Net on a classification network, in the form of segmentation-models-pytorch (`Unet`).

Not the paper's: the encoder's features at strides 32, 16, 8, 4 and 2 take the place of the
contracting path, the skip comes after the upsampled map in the concatenation, upsampling has no
weights, and there is no skip at full resolution, where the encoder has no features.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.models import encoders, xception
from jaxseg.models.contract import CoversImage
from jaxseg.models.unet import DoubleConv
from jaxseg.ops.layers import bind_model
from jaxseg.ops.norm import GLOBAL, Statistics
from jaxseg.ops.resize import check_corners
from jaxseg.ops.upsample import Upsample, check_method

SKIPS = ("stem", "stage1", "stage2", "stage3")  # of "up1".."up4"; "up0" has none


class UNetResNet(CoversImage, nn.Module):
    """Logits as large as the image; endpoints the backbone's and "up4".."up0".

    - `backbone` (all but "xception", whose features leave out the border) and `width_multiplier`:
      see `encoders`; the ResNets are those with known weights.
    - `decoder_channels` of "up4", ..., "up0".
    - `upsampling`: any of `ops.upsample`; `upsampling_corners` of bilinear and bicubic.
    - `padding`, `norm_epsilon` and `norm_momentum` of all layers, as imported weights need them.
    """

    num_classes: int
    backbone: str = "resnet34"
    width_multiplier: float = 1.0
    decoder_channels: tuple[int, ...] = (256, 128, 64, 32, 16)
    upsampling: str = "nearest"
    upsampling_corners: str = "half_pixel"
    padding: str = "symmetric"
    norm_epsilon: float = 1e-5
    norm_momentum: float = 0.9
    dtype: Any = jnp.float32
    statistics: Statistics = GLOBAL
    remat: bool = False

    def __post_init__(self):
        encoders.check_options(self.backbone, **encoders.options_of(self))
        if self.backbone in xception.VARIANTS:
            raise UserError(
                f"unet_resnet: backbone {self.backbone!r} has an unpadded stem, so that its "
                "features leave out the border of the image: use 'xception65'"
            )
        check_method(self.upsampling)
        check_corners(self.upsampling_corners)
        if len(self.decoder_channels) != 5 or min(self.decoder_channels) < 1:
            raise UserError(
                f"unet_resnet: decoder_channels is {self.decoder_channels}, expected 5 numbers of "
                "at least 1, from the coarsest block to the finest"
            )
        super().__post_init__()

    @property
    def interpolation(self) -> tuple[int, str]:
        if self.upsampling in ("bilinear", "bicubic"):
            return 32, self.upsampling_corners
        # copies of whole pixels keep half-pixel centres; the others double exactly
        return (32 if self.upsampling in ("nearest", "resize_conv") else 1), "half_pixel"

    @nn.compact
    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool
    ) -> tuple[Float[Array, "b h w k"], dict[str, Array]]:
        layers = bind_model(self, train=train)
        encoder = encoders.build(self.backbone, layers, **encoders.options_of(self))

        out = encoder(images)
        x = out["stage4"]
        for level, features in zip(range(4, -1, -1), self.decoder_channels, strict=True):
            skip = out[SKIPS[level - 1]] if level else None
            like = images if skip is None else skip
            up = Upsample(
                self.upsampling, layers, corners=self.upsampling_corners, name=f"up{level}_resize"
            )
            x = up(x, (like.shape[1], like.shape[2]))
            if skip is not None:
                x = jnp.concatenate([x, skip], axis=-1)
            block = DoubleConv(features, batch_norm=True, layers=layers, name=f"up{level}")
            x = out[f"up{level}"] = block(x)
        logits = layers.conv(self.num_classes, use_bias=True, name="logits")(x)
        return logits.astype(jnp.float32), out


Model = UNetResNet
