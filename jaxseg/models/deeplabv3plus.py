"""DeepLabv3+ (Chen, Zhu, Papandreou, Schroff, Adam, ECCV 2018).

DeepLabv3 (see there) as encoder, then a decoder (section 3.1, tables 1 and 2) that joins features
of stride 4 and refines. Its 3x3 convolutions are dense, as in the paper's ResNet results (table 3),
or with `separable` depthwise separable, as in those on Xception (table 5).

segmentation-models-pytorch's DeepLabV3Plus: `separable` without `depthwise_norm`, `head_conv`,
`decoder_depth` 1, `dropout` 0.5, corners "aligned", rates (12, 24, 36).
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.models.blocks import ConvNormReLU, score
from jaxseg.models.deeplabv3 import DeepLabV3
from jaxseg.ops.layers import bind_model
from jaxseg.ops.upsample import Upsample, check_method

UPSAMPLINGS = ("nearest", "bilinear", "bicubic", "transposed", "resize_conv")


class DeepLabV3Plus(DeepLabV3):
    """Logits at stride 4; endpoints DeepLabv3's, and "decoder".

    Options are DeepLabv3's (see there), and:

    - `decoder`: without one the logits are at the output stride, those of DeepLabv3.
    - `low_level_channels` to which "stage1" is reduced before it joins the context.
    - `decoder_depth` 3x3 convolutions to `decoder_channels` follow: 2 in the paper.
    - `upsampling` of the context to stride 4: one of UPSAMPLINGS (see `ops.upsample`). The kernel
      of "transposed" is as large as that step, so that weights fit their own output stride alone.
    """

    decoder: bool = True
    low_level_channels: int = 48
    decoder_channels: int = 256
    decoder_depth: int = 2
    upsampling: str = "bilinear"

    def __post_init__(self):
        check_method(self.upsampling, UPSAMPLINGS)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool
    ) -> tuple[Float[Array, "b h2 w2 k"], dict[str, Array]]:
        layers = bind_model(self, train=train)
        x, out = self._encode(images, layers, train)
        if self.decoder:
            block = ConvNormReLU(self.low_level_channels, layers, kernel_size=1, name="low_level")
            low = block(out["stage1"])
            factor = self.output_stride // 4
            enlarge = Upsample(self.upsampling, layers, factor, self.corners, name="upsample")
            x = enlarge(x, (low.shape[1], low.shape[2]))
            x = jnp.concatenate([x, low], axis=-1)
            for i in range(1, self.decoder_depth + 1):
                x = self._block(self.decoder_channels, layers, name=f"decoder{i}")(x)
            out["decoder"] = x
        return score(x, self.num_classes, layers, name="logits"), out


Model = DeepLabV3Plus
